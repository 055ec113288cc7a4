"""What happened lately: counts over the last seconds, in buckets that are reused, or over the last calls."""

from __future__ import annotations

from langchain_cluster.model.policy import BreakerPolicy

BUCKETS = 10  # a tenth of the window leaves at a time
_FAILED, _SLOW = 1, 2


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

    def add(self, now: float, *, failed: bool = False, slow: bool = False, times: int = 1) -> None:
        """Count `times` calls that ended at `now`."""
        tick = int(now // self.width)
        place = tick % BUCKETS
        if self._ticks[place] != tick:
            self._ticks[place] = tick
            self._calls[place] = self._failed[place] = self._slow[place] = 0
        self._calls[place] += times
        if failed:
            self._failed[place] += times
        if slow:
            self._slow[place] += times

    def totals(self, now: float) -> tuple[int, int, int]:
        """(calls, failed, slow) of the window that ends at `now`."""
        newest = int(now // self.width)
        live = [i for i, tick in enumerate(self._ticks) if newest - BUCKETS < tick <= newest]
        return (
            sum(self._calls[i] for i in live),
            sum(self._failed[i] for i in live),
            sum(self._slow[i] for i in live),
        )

    def bucket(self, now: float) -> tuple[float, float]:
        """From when until when calls are counted together with one that ends at `now`, seconds."""
        tick = now // self.width
        return tick * self.width, (tick + 1) * self.width


class CountWindow:
    """Calls, failures and slow calls among the last `size` calls, however long ago. Not locked.

    A ring of one byte per call and three running sums: every operation takes the same time at any size.

    Args:
        size: so many calls are remembered, >= 1.
    """

    __slots__ = ("_failed", "_next", "_ring", "_slow", "calls", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._ring = bytearray(self.size)
        self._next = self.calls = self._failed = self._slow = 0

    def add(self, now: float, *, failed: bool = False, slow: bool = False, times: int = 1) -> None:
        """Count `times` calls; `now` does not matter."""
        kind = failed * _FAILED + slow * _SLOW
        for _ in range(min(times, self.size)):
            oldest = self._ring[self._next]  # 0 while the ring is not full
            self._failed += failed - (oldest & _FAILED)
            self._slow += slow - (oldest & _SLOW) // _SLOW
            self._ring[self._next] = kind
            self._next = (self._next + 1) % self.size
        self.calls = min(self.size, self.calls + times)

    def totals(self, now: float) -> tuple[int, int, int]:
        """(calls, failed, slow) among the last `size`; `now` does not matter."""
        return self.calls, self._failed, self._slow

    def bucket(self, now: float) -> tuple[float, float]:
        """From when until when calls are counted together: always."""
        return float("-inf"), float("inf")


def window_of(policy: BreakerPolicy) -> Window | CountWindow:
    """The window a breaker's policy asks for: of calls, or of seconds."""
    if policy.window_calls is not None:
        return CountWindow(policy.window_calls)
    assert policy.window is not None  # the policy has one of the two
    return Window(policy.window)
