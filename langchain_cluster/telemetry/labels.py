"""How many different things a metric may tell apart: as many as are useful, and one more for all the rest.

Each label's values are bounded, and so is what an instrument holds altogether. A fleet of 10,000 agents
or pods then costs as much memory, here and in the store that scrapes it, as one of a hundred.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from threading import Lock
from typing import Any

from langchain_cluster.telemetry import names

OTHER = "other"
MOST_SERIES = 2_000  # of one counter; the OpenTelemetry SDK's own bound
_REST: tuple[tuple[str, Any], ...] = ((names.LABEL_OVERFLOW, True),)
Labels = tuple[tuple[str, Any], ...]


class Bounded:
    """The values of one label: those that are listed, or the first that come; `other` for the rest.

    Args:
        values: how many, >= 0, or which.
        other: what the rest is called.
    """

    __slots__ = ("_known", "_left", "other")

    def __init__(self, values: int | Collection[str], *, other: str = OTHER) -> None:
        self.other = other
        self._known = set() if isinstance(values, int) else set(values)
        self._left = values if isinstance(values, int) else 0

    def __call__(self, value: str) -> str:
        """The value itself, or `other`. From any thread: at worst a few more are let in than asked for."""
        if value in self._known:
            return value
        if self._left <= 0:
            return self.other
        self._left -= 1
        self._known.add(value)
        return value


class Counts:
    """Sums by labels; beyond `MOST_SERIES` all further labels are one sum. Cheap enough for every call."""

    __slots__ = ("_lock", "_sums")

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count `amount` more of it."""
        with self._lock:
            if labels not in self._sums and len(self._sums) >= MOST_SERIES - 1:
                labels = _REST
            self._sums[labels] = self._sums.get(labels, 0) + amount

    def __iter__(self) -> Iterator[tuple[Mapping[str, Any], float]]:
        with self._lock:
            sums = list(self._sums.items())
        return iter([(dict(labels), value) for labels, value in sums])
