"""A stream that takes over from one that broke after part of its answer was handed out.

Either the answer is asked for again, and what was handed out already is dropped as long as it is the
same text; or the endpoint goes on from that text itself, given as the beginning of its answer (prefill).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.endpoints.usage import finish_reason_of
from langchain_cluster.model.call import Outcome, Verdict


class Disagrees(Exception):
    """The second answer does not begin as the first did: it cannot be its continuation."""

    def __init__(self) -> None:
        super().__init__("its answer began differently from what was handed out already")


def said_of(parts: Iterable[Any]) -> frozenset[str]:
    """The keys of metadata that were handed out with those messages."""
    return frozenset(key for part in parts for key in getattr(part, "response_metadata", ()))


def unsaid(chunk: ChatGenerationChunk, said: frozenset[str]) -> ChatGenerationChunk:
    """`chunk` without the metadata that was `said`: adding chunks up runs two texts of one key together."""
    metadata, info = chunk.message.response_metadata, chunk.generation_info
    if said.isdisjoint(metadata) and said.isdisjoint(info or ()):
        return chunk
    new = {key: value for key, value in metadata.items() if key not in said}
    return ChatGenerationChunk(
        message=chunk.message.model_copy(update={"response_metadata": new}),
        generation_info=info and {key: value for key, value in info.items() if key not in said},
    )


class Resumed:
    """An `Opened` that hands out only what comes after `delivered`.

    Args:
        stream: the whole answer, once more.
        delivered: the text that was handed out already.
        said: the keys of metadata that were.
    """

    def __init__(self, stream: ModelStream, delivered: str, said: frozenset[str] = frozenset()) -> None:
        self._stream, self._delivered, self._said = stream, delivered, said
        self._left = delivered  # still to be dropped
        self.chunks, self.achunks = stream.chunks, stream.achunks
        self.has_token, self.note, self.partial = stream.has_token, stream.note, stream.partial
        self.heard = stream.heard

    def out(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """What of `chunk` is new; None for nothing. Raises Disagrees where it is another text."""
        if not self._left:
            return unsaid(chunk, self._said)
        message = chunk.message
        text = str(message.text)
        common = min(len(text), len(self._left))
        if text[:common] != self._left[:common] or getattr(message, "tool_call_chunks", None):
            raise Disagrees
        self._left = self._left[common:]
        # What ends the answer may come with what was handed out already.
        last = getattr(message, "chunk_position", None) == "last"
        ends = last or finish_reason_of(message, chunk.generation_info) is not None
        if common == len(text) and (self._left or not ends):
            return None
        content: Any = _without(message.content, common)
        rest = message.model_copy(update={"content": content})
        return unsaid(ChatGenerationChunk(message=rest, generation_info=chunk.generation_info), self._said)

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
        said: the keys of metadata that were.
    """

    def __init__(self, stream: ModelStream, delivered: str, said: frozenset[str] = frozenset()) -> None:
        self._stream, self._delivered, self._said = stream, delivered, said
        self.chunks, self.achunks = stream.chunks, stream.achunks
        self.has_token, self.note, self.broke = stream.has_token, stream.note, stream.broke
        self.heard = stream.heard

    def out(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """All of it, but for what was said already."""
        return unsaid(chunk, self._said)

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
