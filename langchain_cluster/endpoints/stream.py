"""One endpoint's stream: when has it begun, and did it really end?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from langchain_cluster.endpoints.usage import finish_reason_of, storable, usage_of
from langchain_cluster.model.call import Heard, Outcome, Usage, Verdict

Chunks = Callable[[], Iterator[ChatGenerationChunk]]
AChunks = Callable[[], AsyncIterator[ChatGenerationChunk]]
Judge = Callable[[BaseException, float], Outcome]


class ModelStream:
    """Chunks of one attempt, and what they amount to.

    A stream is whole when it said why it stopped (`finish_reason`, `stop_reason`,
    `chunk_position="last"`). A connection that is closed in the middle of an answer raises nothing in
    the OpenAI SDK: without this check half an answer passes for a whole one.

    Args:
        chunks, achunks: begin the stream.
        judge: an exception and the seconds so far -> an outcome.
        started: when the attempt began.
        says_why: a stream that ends without a reason is cut off.
        keep: whether somebody wants the whole answer at the end (to cache it).
        calls: also one with tool calls.
    """

    def __init__(
        self,
        chunks: Chunks,
        achunks: AChunks,
        judge: Judge,
        *,
        started: float,
        says_why: bool,
        keep: bool,
        calls: bool = False,
    ) -> None:
        self.chunks, self.achunks, self._judge = chunks, achunks, judge
        self._started, self._says_why, self._keep = started, says_why, keep
        self._calls = calls
        self._kept: list[ChatGenerationChunk] = []
        self._seen = 0
        self._first_token: float | None = None
        self._reason: str | None = None
        self._last = False
        self._usage: Usage | None = None

    def has_token(self, chunk: ChatGenerationChunk) -> bool:
        """Whether the consumer gets something: text, a tool call, reasoning. A role is nothing yet."""
        message = chunk.message
        if message.content:
            if isinstance(message.content, str):
                return True
            return any(
                block if isinstance(block, str) else _says_something(block) for block in message.content
            )
        return bool(getattr(message, "tool_call_chunks", None)) or any(message.additional_kwargs.values())

    def note(self, chunk: ChatGenerationChunk, at: float) -> None:
        """Take a chunk into account; `at` is the time."""
        message = chunk.message
        self._seen += 1
        if self._first_token is None and self.has_token(chunk):
            self._first_token = at - self._started
        reason = finish_reason_of(message, chunk.generation_info)
        if reason is not None:
            self._reason = reason
        if getattr(message, "chunk_position", None) == "last":
            self._last = True
        used = usage_of(getattr(message, "usage_metadata", None))
        if used is not None:
            before = self._usage or Usage()
            self._usage = Usage(
                before.input_tokens + used.input_tokens,
                before.output_tokens + used.output_tokens,
                before.cached_tokens + used.cached_tokens,
            )
        # LangChain changes the chunk it is handed; the message of this moment is what was received.
        self._kept.append(
            ChatGenerationChunk.model_construct(
                message=message, generation_info=chunk.generation_info, text="", type="ChatGenerationChunk"
            )
        )

    def out(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """All of it."""
        return chunk

    def delivered(self) -> str | None:
        """The text so far; None when there was more: tool calls, reasoning, something to look at."""
        partial = self.partial()
        if partial is None:
            return ""
        content = partial.content
        only_text = isinstance(content, str) or all(
            isinstance(block, str) or block.get("type") == "text" for block in content
        )
        more = partial.tool_call_chunks or any(partial.additional_kwargs.values())
        return str(partial.text) if only_text and not more else None

    def heard(self) -> Heard:
        """What has come so far."""
        return Heard(self._first_token, self._usage, self._kept)

    def ended(self, at: float) -> Outcome:
        """The stream ended by itself: OK if it said why, TRANSIENT if it was cut."""
        seconds = at - self._started
        if self._seen == 0:
            return self._cut("the stream had no chunk", seconds)
        if self._reason is None and not self._last and self._says_why:
            return self._cut("the stream ended without a finish reason: it was cut off", seconds)
        whole = self.whole() if self._keep else None
        return Outcome(
            Verdict.OK,
            seconds,
            self._first_token,
            self._usage,
            value=whole,
            storable=whole is not None
            and storable(
                whole.message,
                self._reason,
                says_why=self._says_why or not self._last,
                calls=self._calls,
            ),
        )

    def _cut(self, reason: str, seconds: float) -> Outcome:
        error = ConnectionError(reason)
        return Outcome(Verdict.TRANSIENT, seconds, self._first_token, self._usage, error=error, reason=reason)

    def broke(self, error: BaseException, at: float) -> Outcome:
        """The stream raised. Once it has said why it stopped, only the closing mark was lost."""
        if self._first_token is not None and self._reason is not None:
            return self.ended(at)
        judged = self._judge(error, at - self._started)
        return replace(judged, first_token_seconds=self._first_token, usage=self._usage)

    def whole(self) -> ChatGenerationChunk | None:
        """All chunks put together."""
        chunks = [
            ChatGenerationChunk(message=chunk.message, generation_info=chunk.generation_info)
            for chunk in self._kept
        ]
        return merge_chat_generation_chunks(chunks)

    def partial(self) -> AIMessageChunk | None:
        """The message so far."""
        whole = self.whole()
        return None if whole is None or not isinstance(whole.message, AIMessageChunk) else whole.message


def _says_something(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind in ("text", "text_delta"):
        return bool(block.get("text"))
    if kind in ("thinking", "reasoning"):
        return bool(block.get("thinking") or block.get("reasoning") or block.get("text"))
    return True
