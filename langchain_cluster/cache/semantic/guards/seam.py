"""What a guard is, and how several are asked: the first that objects decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_cluster.cache.semantic.guards.words import Words

LONGEST = 30  # words: in a longer text details abound, and guards cost hits for nothing


@runtime_checkable
class Guard(Protocol):
    """Knows one kind of difference between two questions that makes their answers different.

    Attributes:
        name: in one word; it is counted in the cache's `stats().guarded`.
    """

    name: str

    def read(self, words: Words) -> Any:
        """What it goes by in one question; asked once for each."""

    def differ(self, one: Any, other: Any) -> bool:
        """Whether two questions, of which this was read, differ in its way. Symmetric."""


class Guards:
    """Several guards as one.

    Args:
        guards: asked in this order.
        longest: words; a pair with a longer text is not looked at.
    """

    def __init__(self, guards: Sequence[Guard], *, longest: int = LONGEST) -> None:
        self.guards, self.longest = tuple(guards), longest

    def read(self, text: str) -> tuple[Any, ...] | None:
        """What all of them go by; None for a text too long to be looked at."""
        if not self.guards:
            return None
        words = Words(text)
        if len(words.tokens) > self.longest:
            return None
        return tuple([guard.read(words) for guard in self.guards])

    def objection(self, one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> str | None:
        """The name of the first guard for which the two differ; None if there is none."""
        if one is None or other is None:
            return None
        for guard, first, second in zip(self.guards, one, other, strict=True):
            if guard.differ(first, second):
                return guard.name
        return None
