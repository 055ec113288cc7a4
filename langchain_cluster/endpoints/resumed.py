"""A stream that takes over from one that broke after part of its answer was handed out.

Either the answer is asked for again, and what was handed out already is dropped as long as it is the
same text; or the endpoint goes on from that text itself, given as the beginning of its answer (prefill).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.model.call import Outcome, Verdict


class Disagrees(Exception):
    """The second answer does not begin as the first did: it cannot be its continuation."""

    def __init__(self) -> None:
        super().__init__("its answer began differently from what was handed out already")


class Resumed:
    """An `Opened` that hands out only what comes after `delivered`.

    Args:
        stream: the whole answer, once more.
        delivered: the text that was handed out already.
    """

    def __init__(self, stream: ModelStream, delivered: str) -> None:
        self._stream, self._delivered = stream, delivered
        self._left = delivered  # still to be dropped
        self.chunks, self.achunks = stream.chunks, stream.achunks
        self.has_token, self.note, self.partial = stream.has_token, stream.note, stream.partial
        self.heard = stream.heard

    def out(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """What of `chunk` is new; None for nothing. Raises Disagrees where it is another text."""
        if not self._left:
            return chunk
        message = chunk.message
        text = str(message.text)
        common = min(len(text), len(self._left))
        if text[:common] != self._left[:common] or getattr(message, "tool_call_chunks", None):
            raise Disagrees
        self._left = self._left[common:]
        if common == len(text):
            return None
        content: Any = _without(message.content, common)
        rest = AIMessageChunk(content=content, id=message.id, additional_kwargs=message.additional_kwargs)
        return ChatGenerationChunk(message=rest, generation_info=chunk.generation_info)

    def delivered(self) -> str | None:
        """The text handed out so far, in all."""
        text = self._stream.delivered()
        return self._delivered if self._left else text

    def ended(self, at: float) -> Outcome:
        """It ended by itself: not well, if that was before it had come to anything new."""
        outcome = self._stream.ended(at)
        if self._left and outcome.verdict is Verdict.OK:
            return self.broke(Disagrees(), at)
        return outcome

    def broke(self, error: BaseException, at: float) -> Outcome:
        """It raised. That the text is another one is nobody's fault."""
        outcome = self._stream.broke(error, at)
        if isinstance(error, Disagrees):
            return Outcome(Verdict.ABANDONED, outcome.seconds, error=error, reason=str(error))
        return outcome


class Prefilled:
    """An `Opened` of an endpoint that goes on from `delivered` itself. Never to be cached: it is a part.

    Args:
        stream: what comes after it.
        delivered: the text that was handed out already.
    """

    def __init__(self, stream: ModelStream, delivered: str) -> None:
        self._stream, self._delivered = stream, delivered
        self.chunks, self.achunks = stream.chunks, stream.achunks
        self.has_token, self.note, self.broke = stream.has_token, stream.note, stream.broke
        self.out, self.heard = stream.out, stream.heard

    def delivered(self) -> str | None:
        """The text handed out so far, in all; None when there was more than text."""
        text = self._stream.delivered()
        return None if text is None else self._delivered + text

    def partial(self) -> Any:
        """The message so far, with what another endpoint said of it."""
        rest = self._stream.partial()
        begun = AIMessageChunk(content=self._delivered)
        return begun if rest is None else begun + rest

    def ended(self, at: float) -> Outcome:
        """It ended by itself."""
        return replace(self._stream.ended(at), storable=False)


def _without(content: Any, characters: int) -> Any:
    """Content without the first `characters` of its text."""
    if isinstance(content, str):
        return content[characters:]
    blocks = []
    for block in content:
        text = block if isinstance(block, str) else block.get("text")
        if not isinstance(text, str):
            blocks.append(block)
            continue
        dropped = min(characters, len(text))
        characters -= dropped
        if dropped < len(text):
            rest = text[dropped:]
            blocks.append(rest if isinstance(block, str) else {**block, "text": rest})
    return blocks
