"""Asking one endpoint through the `ModelCaller`, with everything an attempt carries spelled out."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_cluster import Endpoint, Outcome, Request
from langchain_cluster.endpoints.caller import ModelCaller, Question
from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.model.call import Attempt, Limits

WAYS = ("call", "acall", "stream", "astream")


class Asking:
    """One endpoint and its caller; awaited ways run on a loop of its own."""

    def __init__(self, model: Any, runner: asyncio.Runner, **fields: Any) -> None:
        self.endpoint = Endpoint("gpu-1", model, **fields)
        self.caller = ModelCaller(time.monotonic)
        self._runner = runner
        self.streamed: ModelStream | None = None
        self.chunks: list[Any] = []

    def ask(
        self,
        way: str,
        said: str | list[BaseMessage] = "hello",
        *,
        stop: list[str] | None = None,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        headers: dict[str, str] | None = None,
        keep: bool = True,
        **arguments: Any,
    ) -> Outcome:
        """The outcome, of a stream when it has ended or broken."""
        messages: list[BaseMessage] = [HumanMessage(said)] if isinstance(said, str) else said
        request = Request(payload=Question(messages, stop, arguments), fingerprint="digest" if keep else None)
        attempt = Attempt(1, self.endpoint, request, limits)
        if way == "call":
            return self.caller.call(attempt, headers or {})
        if way == "acall":
            return self._runner.run(self.caller.acall(attempt, headers or {}))
        self.streamed = stream = self.caller.open(attempt, headers or {})
        self.chunks = []
        try:
            if way == "stream":
                for chunk in stream.chunks():
                    self._took(stream, chunk)
            else:
                self._runner.run(self._consume(stream))
        except Exception as error:
            return stream.broke(error, time.monotonic())
        return stream.ended(time.monotonic())

    async def _consume(self, stream: ModelStream) -> None:
        async for chunk in stream.achunks():
            self._took(stream, chunk)

    def _took(self, stream: ModelStream, chunk: Any) -> None:
        stream.note(chunk, time.monotonic())
        self.chunks.append(chunk)


def message_of(outcome: Outcome) -> Any:
    """The message of a whole answer, or of a stream's chunks put together."""
    assert outcome.error is None, outcome.reason
    value = outcome.value
    return value.generations[0].message if hasattr(value, "generations") else value.message
