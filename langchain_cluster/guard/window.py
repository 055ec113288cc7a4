"""What happened lately: counts over a sliding window of time, in buckets that are reused."""

from __future__ import annotations

BUCKETS = 10  # a tenth of the window leaves at a time


class Window:
    """Calls, failures and slow calls of the last `seconds`. Not locked: its owner is.

    Args:
        seconds: length of the window, > 0.
    """

    __slots__ = ("_calls", "_failed", "_slow", "_ticks", "width")

    def __init__(self, seconds: float) -> None:
        self.width = seconds / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._ticks = [-1] * BUCKETS
        self._calls = [0] * BUCKETS
        self._failed = [0] * BUCKETS
        self._slow = [0] * BUCKETS

    def add(self, now: float, *, failed: bool = False, slow: bool = False) -> None:
        """Count one call that ended at `now`."""
        tick = int(now // self.width)
        place = tick % BUCKETS
        if self._ticks[place] != tick:
            self._ticks[place] = tick
            self._calls[place] = self._failed[place] = self._slow[place] = 0
        self._calls[place] += 1
        if failed:
            self._failed[place] += 1
        if slow:
            self._slow[place] += 1

    def totals(self, now: float) -> tuple[int, int, int]:
        """(calls, failed, slow) of the window that ends at `now`."""
        newest = int(now // self.width)
        live = [i for i, tick in enumerate(self._ticks) if newest - BUCKETS < tick <= newest]
        return (
            sum(self._calls[i] for i in live),
            sum(self._failed[i] for i in live),
            sum(self._slow[i] for i in live),
        )
