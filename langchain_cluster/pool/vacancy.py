"""Waiting for a place: who finds everybody full leaves a callback, and is told when a call has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from langchain_cluster.model.endpoint import Endpoint


class Vacancies:
    """Those who wait, the longest first. One of them is told of each place, the first whom it suits."""

    __slots__ = ("_lock", "_waiting", "freed")

    def __init__(self) -> None:
        self.freed = 0  # how many places have become free so far
        self._lock = Lock()
        self._waiting: deque[Vacancy] = deque()

    def free(self, endpoint: Endpoint) -> None:
        """A place has become free there: the longest waiting whom it suits is told."""
        self.freed += 1
        if not self._waiting:
            return
        with self._lock:
            chosen = next((waiting for waiting in self._waiting if waiting.suits(endpoint)), None)
            if chosen is not None:
                self._waiting.remove(chosen)
                chosen.told_of = endpoint
        if chosen is not None:
            chosen.tell()

    def since(self, freed: int, suits: Callable[[Endpoint], bool] = lambda endpoint: True) -> Vacancy:
        """Something to wait for: a place that becomes free after `freed` had, where it `suits`."""
        return Vacancy(self, freed, suits)

    def add(self, vacancy: Vacancy, freed: int) -> bool:
        """Wait in line; False when a place has become free since the caller looked."""
        with self._lock:
            if self.freed != freed:
                return False
            self._waiting.append(vacancy)
            return True

    def drop(self, vacancy: Vacancy) -> None:
        """Leave the line."""
        with self._lock:
            if vacancy in self._waiting:
                self._waiting.remove(vacancy)

    def __len__(self) -> int:
        return len(self._waiting)


class Vacancy:
    """The next place. What became free between looking and waiting is not missed.

    Attributes:
        told_of: where the place is, None while nobody has told.
    """

    __slots__ = ("_freed", "_line", "suits", "tell", "told_of")

    def __init__(self, line: Vacancies, freed: int, suits: Callable[[Endpoint], bool]) -> None:
        self._line, self._freed, self.suits = line, freed, suits
        self.tell: Callable[[], None] = lambda: None
        self.told_of: Endpoint | None = None

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell` once when a place is free."""
        self.tell = tell
        if not self._line.add(self, self._freed):
            tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Whoever waited has left, or was told."""
        self._line.drop(self)

    def used(self, taken: Endpoint | None) -> None:
        """Whoever waited took a place there, or none: one it was told of and left is another's."""
        if self.told_of is not None and self.told_of is not taken:
            self._line.free(self.told_of)
        self.told_of = None
