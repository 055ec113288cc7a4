"""One way to ask a chat model, whichever of its faces answers: whole or streamed, blocking or awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from contextvars import copy_context
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.model.events import AttemptEnded, Event
from langchain_cluster.testing import SimulatedServer

WHOLE = ("invoke", "ainvoke")
STREAMED = ("stream", "astream")
NAMES = (*WHOLE, *STREAMED, *(f"watched {name}" for name in (*WHOLE, *STREAMED)))
"""Watched: with a callback handler attached, without which `invoke` takes a shorter way."""


class Watcher(BaseCallbackHandler):
    """Counts what LangChain tells about a run."""

    def __init__(self) -> None:
        self.started = self.ended = self.failed = 0
        self.tokens: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.started += 1

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.ended += 1

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.failed += 1


class Face:
    """Asks through one face; the awaited ones run on `runner`'s loop, which outlives the call.

    received: chunks of the last stream, also of one that broke.
    """

    def __init__(self, name: str, runner: asyncio.Runner) -> None:
        self.name = name
        self.watched = name.startswith("watched ")
        self.method = name.removeprefix("watched ")
        self.streams = self.method in STREAMED
        self.awaited = self.method.startswith("a")
        self.watcher = Watcher()
        self.received: list[AIMessageChunk] = []
        self._runner = runner

    def ask(self, llm: Any, text: Any, config: Any = None, **arguments: Any) -> Any:
        """The message, of a stream its chunks added up."""
        if self.watched:
            self.watcher = Watcher()
            callbacks = (config or {}).get("callbacks") or []
            config = {**(config or {}), "callbacks": [*callbacks, self.watcher]}
        ask: Callable[..., Any] = getattr(self, f"_{self.method}")
        if self.awaited:
            # In this context: whoever watches by a context variable watches here too.
            return self._runner.run(ask(llm, text, config, arguments), context=copy_context())
        return ask(llm, text, config, arguments)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something on the loop of this face."""
        return self._runner.run(work)

    def leftovers(self) -> set[Any]:
        """Tasks that live on though nobody asks.

        The SDKs leave generators of their own unfinished, at a `[DONE]` or an error: the loop closes
        each in a task when it is collected. Those may finish first.
        """

        async def a_while() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self._runner.run(a_while())
        return asyncio.all_tasks(self._runner.get_loop())

    def _invoke(self, llm: Any, text: Any, config: Any, arguments: Any) -> Any:
        return llm.invoke(text, config, **arguments)

    async def _ainvoke(self, llm: Any, text: Any, config: Any, arguments: Any) -> Any:
        return await llm.ainvoke(text, config, **arguments)

    def _stream(self, llm: Any, text: Any, config: Any, arguments: Any) -> Any:
        self.received = []
        for chunk in llm.stream(text, config, **arguments):
            self.received.append(chunk)
        return self._merged()

    async def _astream(self, llm: Any, text: Any, config: Any, arguments: Any) -> Any:
        self.received = []
        async with aclosing(llm.astream(text, config, **arguments)) as chunks:
            async for chunk in chunks:
                self.received.append(chunk)
        return self._merged()

    def _merged(self) -> Any:
        first, *rest = self.received
        for chunk in rest:
            first = first + chunk
        return first

    def __repr__(self) -> str:
        return f"<Face {self.name}>"


class Heard(list[Event]):
    """Every event of a cluster, in order."""

    def __init__(self, llm: ClusteredLLM) -> None:
        llm.cluster.events.subscribe(self.append)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """(endpoint, verdict) of every attempt that gave no answer."""
        return [(e.report.endpoint, e.report.verdict.value) for e in self.of(AttemptEnded)]


def cluster_of(message: BaseMessage) -> dict[str, Any]:
    """Where an answer says it came from."""
    where: dict[str, Any] = message.response_metadata["cluster"]
    return where


def text_of(message: AIMessage) -> str:
    """The text; Anthropic streams it in blocks."""
    return str(message.text)


def pair(bad: Any, good: Any, *, policy: Any = None, **options: Any) -> ClusteredLLM:
    """`bad` is asked first for certain, `good` when `bad` is not to be asked."""
    endpoints = [Endpoint("bad", bad, priority=0), Endpoint("good", good, priority=1)]
    return ClusteredLLM(endpoints, policy=policy or Policy(), seed=1, **options)


def at_rest(llm: ClusteredLLM, server: SimulatedServer | None = None) -> bool:
    """Whether no call, lease or flight is held, and the server is done too."""
    cluster = llm.cluster
    assert cluster.in_flight == 0
    assert [member.in_flight for member in cluster.pool] == [0] * len(cluster.pool)
    assert len(cluster._flights) == 0
    return server is None or server.wait_until(lambda: server.in_flight() == 0, within=5.0)
