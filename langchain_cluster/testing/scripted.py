"""A chat model that answers from a script: for tests, docs and benchmarks, without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from threading import Lock
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr


class ScriptedModel(BaseChatModel):
    """Plays its script, one step per call; the last step is repeated for ever.

    A step is a text or an `AIMessage` (the answer; streamed word by word), an exception (raised), a
    list (a stream: texts are chunks, an exception breaks it, a number is a wait in seconds, and
    without an end it is cut off), or a callable of the messages that returns one of these.

    Args:
        *script: the steps; none answers "ok".
        model_name: its name, for traces and cache keys.
        delay: seconds before every answer, > 0 blocks like a network does.
    """

    script: list[Any] = Field(default_factory=list)
    model_name: str = "scripted"
    delay: float = 0.0
    _lock: Any = PrivateAttr(default_factory=Lock)
    _calls: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _arguments: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def __init__(self, *script: Any, **fields: Any) -> None:
        super().__init__(**{"script": list(script) or ["ok"], **fields})

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self._calls)

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """What it was asked, in order."""
        return list(self._calls)

    @property
    def arguments(self) -> list[dict[str, Any]]:
        """The keyword arguments of each call, in order."""
        return list(self._arguments)

    def _next(self, messages: list[BaseMessage], arguments: dict[str, Any]) -> Any:
        with self._lock:
            step = self.script[min(len(self._calls), len(self.script) - 1)]
            self._calls.append(messages)
            self._arguments.append(arguments)
        while callable(step) and not isinstance(step, type | BaseException):
            step = step(messages)
        return step

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        step = self._next(messages, kwargs)
        if self.delay:
            time.sleep(self.delay)
        return _whole(step, time.sleep)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        step = self._next(messages, kwargs)
        waits: list[float] = [self.delay] if self.delay else []
        try:
            return _whole(step, waits.append)
        finally:
            for seconds in waits:
                await asyncio.sleep(seconds)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        step = self._next(messages, kwargs)
        if self.delay:
            time.sleep(self.delay)
        for part in _parts(step):
            if isinstance(part, int | float):
                time.sleep(part)
            else:
                yield _chunk(part)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        step = self._next(messages, kwargs)
        if self.delay:
            await asyncio.sleep(self.delay)
        for part in _parts(step):
            if isinstance(part, int | float):
                await asyncio.sleep(part)
            else:
                yield _chunk(part)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """Accepts tools; what it calls is up to the script."""
        return self.bind(tools=list(tools), **kwargs)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def __repr__(self) -> str:
        return f"ScriptedModel({self.model_name!r}, {len(self.script)} steps, {self.calls} calls)"


def _raise(error: Any) -> None:
    raise error


def _whole(step: Any, wait: Callable[[float], Any]) -> ChatResult:
    if isinstance(step, list):
        texts = []
        for part in step:
            if isinstance(part, int | float):
                wait(part)
            elif isinstance(part, str):
                texts.append(part)
            else:
                _raise(part)
        step = "".join(texts)
    if isinstance(step, BaseException | type):
        _raise(step)
    message = step.model_copy() if isinstance(step, AIMessage) else AIMessage(content=step)
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=_ended(message))])


def _ended(message: AIMessage) -> dict[str, str] | None:
    """Why it stopped: as the message itself says, or else because it was done."""
    says = message.response_metadata.keys() & {"finish_reason", "stop_reason", "done_reason"}
    return None if says else {"finish_reason": "stop"}


def _parts(step: Any) -> list[Any]:
    if isinstance(step, list):
        return step
    if isinstance(step, BaseException | type):
        return [step]
    if isinstance(step, AIMessage):
        chunk = AIMessageChunk(**step.model_dump(exclude={"type"}), chunk_position="last")
        return [chunk]
    words = step.split(" ")
    texts = [word if place == 0 else f" {word}" for place, word in enumerate(words)]
    return [*texts, AIMessageChunk(content="", chunk_position="last")]


def _chunk(part: Any) -> ChatGenerationChunk:
    if isinstance(part, BaseException | type):
        _raise(part)
    message = part if isinstance(part, AIMessageChunk) else AIMessageChunk(content=part)
    last = message.chunk_position == "last"
    return ChatGenerationChunk(message=message, generation_info=_ended(message) if last else None)
