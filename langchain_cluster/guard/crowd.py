"""Calls that wait for an endpoint which asked to be left alone: who comes back when?

A hundred calls that a 429 sent to wait would all ask again in the same millisecond, and all but a few be
refused again. So whoever is not alone waits a little longer, by chance, and lets those go first that matter
more. Who waits alone comes back when he was asked to.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from threading import Lock
from types import TracebackType
from typing import Self

SPREAD = 0.2  # seconds: within these a crowd comes back, after the time it was asked for
_RANKS = {"critical": 0, "sheddable": 2}  # a normal call has 1


class Crowd:
    """All that wait now, by when their time is over and how much they matter."""

    __slots__ = ("_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: Counter[tuple[int, int]] = Counter()

    def join(self, until: float, priority: str) -> Waiter:
        """One more waits until `until`; it leaves with its block."""
        waiter = Waiter(self, round(until / SPREAD), _RANKS.get(priority, 1))
        with self._lock:
            waiter.alone = not any(self._count(waiter.slot, rank) for rank in range(3))
            self._waiting[waiter.slot, waiter.rank] += 1
        return waiter

    def _count(self, slot: int, rank: int) -> int:
        # The slots beside it too: one time is a little more or less than itself, by who works it out.
        return sum(self._waiting[near, rank] for near in (slot - 1, slot, slot + 1))

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        with self._lock:
            place = waiter.slot, waiter.rank
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place]

    def __len__(self) -> int:
        return self._waiting.total()

    def __repr__(self) -> str:
        return f"<Crowd of {len(self)}>"


class Waiter:
    """One that waits."""

    __slots__ = ("_crowd", "alone", "rank", "slot")

    def __init__(self, crowd: Crowd, slot: int, rank: int) -> None:
        self._crowd, self.slot, self.rank = crowd, slot, rank
        self.alone = True

    def longer(self, rng: Random) -> float:
        """Seconds to wait beyond the time that was asked for: none for one that came first."""
        return 0.0 if self.alone else rng.random() * SPREAD

    @property
    def outranked(self) -> bool:
        """Whether somebody that matters more still waits for the same moment."""
        return any(self._crowd._count(self.slot, rank) for rank in range(self.rank))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crowd.leave(self)
