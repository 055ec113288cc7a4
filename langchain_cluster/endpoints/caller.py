"""Ask an endpoint's chat model, through `_generate` and its siblings, and judge what comes back.

Never through the model's `invoke`: inside a chain that opens a second run, counts the tokens twice and
doubles every token of a LangGraph stream. What `invoke` would have done is done here: the model's own
rate limiter, its bindings, `disable_streaming`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_cluster.endpoints.adapter import Adapter
from langchain_cluster.endpoints.adapters import Adapting
from langchain_cluster.endpoints.answer import call_chunks
from langchain_cluster.endpoints.binding import Translator
from langchain_cluster.endpoints.classify import Judgement, classify, hung_up
from langchain_cluster.endpoints.malformed import Malformed
from langchain_cluster.endpoints.resumed import Prefilled, Resumed, said_of
from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.endpoints.usage import finish_reason_of, storable, usage_of
from langchain_cluster.errors import ClusterError
from langchain_cluster.model.call import Attempt, Outcome, Resume, Verdict
from langchain_cluster.model.plain import LONGEST, kind_of


@dataclass(slots=True)
class Question:
    """What a chat model is asked: the payload of a `Request`.

    Args:
        run: the LangChain run it belongs to, with its `run_id` and `handlers`; None when nobody watches.
    """

    messages: list[BaseMessage]
    stop: list[str] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    run: Any = field(default=None, repr=False, compare=False)


class ModelCaller(Adapting[Adapter]):
    """A `Caller` for endpoints whose model is a LangChain chat model.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now, Adapter)
        self._translator = Translator()

    def call(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """Ask and wait for the whole answer; never raises an `Exception`."""
        started = self._now()
        try:
            adapter = self.adapter(attempt.endpoint)
            question: Question = attempt.request.payload
            arguments = self._arguments(adapter, attempt, headers, started, stream=False)
            if adapter.original.rate_limiter is not None:
                adapter.original.rate_limiter.acquire(blocking=True)
            result = adapter.model._generate(question.messages, **arguments)
            return self._answered(result, adapter, attempt, self._now() - started)
        except Exception as error:
            return judge(error, self._now() - started)

    async def acall(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """The same, awaited."""
        started = self._now()
        try:
            adapter = self.adapter(attempt.endpoint)
            question: Question = attempt.request.payload
            arguments = self._arguments(adapter, attempt, headers, started, stream=False)
            if adapter.original.rate_limiter is not None:
                await adapter.original.rate_limiter.aacquire(blocking=True)
            result = await adapter.model._agenerate(question.messages, **arguments)
            return self._answered(result, adapter, attempt, self._now() - started)
        except Exception as error:
            return judge(error, self._now() - started)

    def open(
        self, attempt: Attempt, headers: Mapping[str, str], resume: Resume | None = None
    ) -> ModelStream | Resumed | Prefilled:
        """A stream; nothing is sent before its first chunk is wanted."""
        if resume is None:
            return self._open(attempt, headers)
        if not resume.prefill:
            return Resumed(self._open(attempt, headers), resume.delivered, said_of(resume.parts))
        question: Question = attempt.request.payload
        begun = replace(question, messages=[*question.messages, AIMessage(resume.delivered)])
        attempt = replace(attempt, request=replace(attempt.request, payload=begun, fingerprint=None))
        return Prefilled(self._open(attempt, headers), resume.delivered, said_of(resume.parts))

    def _open(self, attempt: Attempt, headers: Mapping[str, str]) -> ModelStream:
        started = self._now()
        question: Question = attempt.request.payload

        def chunks() -> Iterator[ChatGenerationChunk]:
            adapter = self.adapter(attempt.endpoint)
            streams = adapter.streams(question.arguments, awaited=False)
            arguments = self._arguments(adapter, attempt, headers, started, stream=streams)
            if adapter.original.rate_limiter is not None:
                adapter.original.rate_limiter.acquire(blocking=True)
            if streams:
                yield from adapter.model._stream(question.messages, **arguments)
            else:
                result = adapter.model._generate(question.messages, **arguments)
                yield as_chunk(result)

        async def achunks() -> AsyncIterator[ChatGenerationChunk]:
            adapter = self.adapter(attempt.endpoint)
            streams = adapter.streams(question.arguments, awaited=True)
            arguments = self._arguments(adapter, attempt, headers, started, stream=streams)
            if adapter.original.rate_limiter is not None:
                await adapter.original.rate_limiter.aacquire(blocking=True)
            if not streams:
                result = await adapter.model._agenerate(question.messages, **arguments)
                yield as_chunk(result)
                return
            stream = adapter.model._astream(question.messages, **arguments)
            try:
                async for chunk in stream:
                    yield chunk
            finally:
                close = getattr(stream, "aclose", None)
                if close is not None:
                    await close()

        try:
            says_why = self.adapter(attempt.endpoint).says_why
        except Exception:
            says_why = False  # `chunks` raises it again, where it is judged
        keep, calls = attempt.request.fingerprint is not None, attempt.request.keep_calls
        return ModelStream(chunks, achunks, judge, started=started, says_why=says_why, keep=keep, calls=calls)

    def _arguments(
        self, adapter: Adapter, attempt: Attempt, headers: Mapping[str, str], now: float, *, stream: bool
    ) -> dict[str, Any]:
        question: Question = attempt.request.payload
        own = self._translator.translate(adapter.model, question.arguments, adapter.sdk)
        arguments = adapter.arguments(own, attempt.limits, headers, now, stream=stream)
        if question.stop is not None:
            arguments["stop"] = question.stop  # else that of the model's bindings, if they have one
        if stream and adapter.sdk == "openai" and getattr(adapter.original, "stream_usage", None) is None:
            # With an address of one's own ChatOpenAI leaves the usage out of streams unless asked.
            arguments.setdefault("stream_usage", True)
        return arguments

    @staticmethod
    def _answered(result: ChatResult, adapter: Adapter, attempt: Attempt, seconds: float) -> Outcome:
        if not result.generations:
            return judge(Malformed("the answer has no choices"), seconds)
        generation = result.generations[0]
        message = generation.message
        reason = finish_reason_of(message, generation.generation_info, result.llm_output)
        whole = len(result.generations) == 1 and storable(
            message, reason, says_why=adapter.says_why, calls=attempt.request.keep_calls
        )
        used = usage_of(getattr(message, "usage_metadata", None))
        return Outcome(Verdict.OK, seconds, None, used, result, storable=whole)


def judge(error: BaseException, seconds: float) -> Outcome:
    """The outcome of an attempt that raised `error`."""
    judged = classify(error)
    if judged.verdict is Verdict.OVERFLOW and not isinstance(error, ContextOverflowError):
        # Summarization middleware waits for this class, whatever the provider's own says.
        overflow = ContextOverflowError(str(error))
        overflow.__cause__ = error
        error = overflow
    return Outcome(
        judged.verdict,
        seconds,
        error=error,
        reason=_reason(error, judged),
        retry_after=judged.retry_after,
        status=judged.status,
        hung_up=judged.verdict is Verdict.TRANSIENT and hung_up(error),
    )


def _reason(error: BaseException, judged: Judgement) -> str:
    """What notes, events and pages say of it: nothing a provider may have quoted."""
    if isinstance(error, Malformed | ClusterError):  # the words are ours
        return f"{type(error).__name__}: {error}"[:LONGEST]
    return kind_of(error, judged.status, judged.code)


def as_chunk(result: ChatResult) -> ChatGenerationChunk:
    """A whole answer as the only chunk of a stream."""
    generation = result.generations[0]
    message = generation.message
    fields = {name: getattr(message, name) for name in ("content", "additional_kwargs", "response_metadata")}
    calls = getattr(message, "tool_calls", [])
    chunk = AIMessageChunk(
        **fields,
        id=message.id,
        name=message.name,
        usage_metadata=message.usage_metadata if isinstance(message, AIMessage) else None,
        tool_calls=calls,
        invalid_tool_calls=getattr(message, "invalid_tool_calls", []),
        tool_call_chunks=call_chunks(calls),
        chunk_position="last",
    )
    info = {**(result.llm_output or {}), **(generation.generation_info or {})}
    return ChatGenerationChunk(message=chunk, generation_info=info or None)
