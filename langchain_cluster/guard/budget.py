"""Why a budget and not only a maximum of retries?

Three tries per call sounds modest, and triples the load on a provider at the very moment it has none
to spare. A budget bounds what all calls together add: extras (retries, hedges) are paid from a
bucket that only first tries fill. When a few calls fail, all of them may be retried; when all fail,
one in five may. Finagle's RetryBudget, tower's Budget.
"""

from __future__ import annotations

from math import inf
from threading import Lock

WINDOW = 10.0  # seconds a deposit is remembered
MIN_PER_SECOND = 3.0  # so that a pool with hardly any traffic can retry at all
_SLOTS = 10


class RetryBudget:
    """How many extra attempts may be made now.

    Args:
        ratio: extras per call, on average, over `WINDOW` seconds; >= 0.
        now: the time it starts at, seconds.
        floor: extras that may always be made within `WINDOW` seconds.
    """

    __slots__ = ("_calls", "_lock", "_spent", "_tick", "_told", "floor", "ratio")

    def __init__(self, ratio: float, now: float, *, floor: float = MIN_PER_SECOND * WINDOW) -> None:
        self.ratio, self.floor = ratio, floor
        self._lock = Lock()
        self._tick = self._tick_of(now)
        self._calls = [0] * _SLOTS
        self._spent = [0] * _SLOTS
        self._told = -inf  # when a refusal was last news

    @staticmethod
    def _tick_of(now: float) -> int:
        return int(now * _SLOTS // WINDOW)

    def _forget_old(self, now: float) -> int:
        tick = self._tick_of(now)
        for missed in range(self._tick + 1, min(tick, self._tick + _SLOTS) + 1):
            self._calls[missed % _SLOTS] = self._spent[missed % _SLOTS] = 0
        self._tick = max(tick, self._tick)
        return self._tick % _SLOTS

    def deposit(self, now: float) -> None:
        """A call is about to ask. Its retries do not deposit, or failing would pay for more failing."""
        with self._lock:
            self._calls[self._forget_old(now)] += 1

    def withdraw(self, now: float) -> bool:
        """Take one extra attempt; False when there is none left."""
        with self._lock:
            place = self._forget_old(now)
            if sum(self._spent) + 1 > sum(self._calls) * self.ratio + self.floor:
                return False
            self._spent[place] += 1
            return True

    def news(self, now: float) -> bool:
        """Whether a refusal now is worth telling: once in `WINDOW` seconds."""
        with self._lock:
            if self._told <= now < self._told + WINDOW:
                return False
            self._told = now
            return True

    def used(self, now: float) -> float:
        """The part of what may be spent now that is spent, 0-1."""
        with self._lock:
            self._forget_old(now)
            allowed = sum(self._calls) * self.ratio + self.floor
            return min(1.0, sum(self._spent) / allowed) if allowed > 0 else 1.0

    def __repr__(self) -> str:
        return f"<RetryBudget {sum(self._spent)} extras for {sum(self._calls)} calls in {WINDOW:g} s>"
