"""Do the chunks of a stream make a whole, and which? Texts and messages do; of others nobody can say.

A parser may stream a list item by item, or over and over as it grows: to add those up would be a guess.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk
from langchain_core.runnables.utils import AddableDict


class Whole:
    """The chunks so far."""

    __slots__ = ("_adds", "_chunks")

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self._adds = True

    def add(self, chunk: Any) -> None:
        """The next one."""
        if self._chunks and self._adds:
            self._adds = _adds(chunk) and type(chunk) is type(self._chunks[0]) and _adds(self._chunks[0])
        if self._adds:
            self._chunks.append(chunk)

    def value(self) -> Any:
        """What they make. Raises ValueError when there is none, or nobody can say."""
        if not self._chunks:
            raise ValueError("its stream was empty")
        if not self._adds:
            raise ValueError("the chunks of its stream cannot be told to make a whole")
        first = self._chunks[0]
        if len(self._chunks) == 1:
            return first
        return "".join(self._chunks) if type(first) is str else reduce(add, self._chunks)


def _adds(chunk: Any) -> bool:
    if type(chunk) is AddableDict:
        return all(inner is None or _adds(inner) for inner in chunk.values())
    return type(chunk) is str or isinstance(chunk, BaseMessageChunk)


def as_chunk(value: Any) -> Any:
    """A whole value as the one chunk of its replay: an answer as the chunk that consumers add up."""
    if type(value) is not AIMessage:
        return value
    fields = {name: inner for name, inner in value.__dict__.items() if name != "type" and inner}
    return AIMessageChunk(**{"content": "", **fields}, chunk_position="last")
