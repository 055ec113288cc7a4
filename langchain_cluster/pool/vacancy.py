"""Waiting for a place: who finds everybody full leaves a callback, and is told when a call has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock


class Vacancies:
    """Callbacks of those who wait, the longest first."""

    __slots__ = ("_lock", "_waiting", "freed")

    def __init__(self) -> None:
        self.freed = 0  # how many places have become free so far
        self._lock = Lock()
        self._waiting: deque[Callable[[], None]] = deque()

    def free(self) -> None:
        """A place has become free: the longest waiting is told."""
        self.freed += 1
        if not self._waiting:
            return
        with self._lock:
            tell = self._waiting.popleft() if self._waiting else None
        if tell is not None:
            tell()

    def since(self, freed: int) -> Vacancy:
        """Something to wait for: a place that becomes free after `freed` had."""
        return Vacancy(self, freed)

    def add(self, tell: Callable[[], None], freed: int) -> bool:
        """Wait in line; False when a place has become free since the caller looked."""
        with self._lock:
            if self.freed != freed:
                return False
            self._waiting.append(tell)
            return True

    def drop(self, tell: Callable[[], None]) -> None:
        """Leave the line."""
        with self._lock:
            if tell in self._waiting:
                self._waiting.remove(tell)

    def __len__(self) -> int:
        return len(self._waiting)


class Vacancy:
    """The next place. What became free between looking and waiting is not missed."""

    __slots__ = ("_freed", "_line")

    def __init__(self, line: Vacancies, freed: int) -> None:
        self._line, self._freed = line, freed

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when a place is free."""
        if not self._line.add(tell, self._freed):
            tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left, or was told."""
        self._line.drop(tell)
