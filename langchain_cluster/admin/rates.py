"""How often one client may ask: a bucket per address that fills with time. It is told the time."""

from __future__ import annotations

from collections import OrderedDict

MOST_CLIENTS = 4096  # remembered; the one not heard of for longest is forgotten
BURST = 0.25  # part of a minute's requests that may come at once


class Rates:
    """Buckets by client.

    Args:
        per_minute: requests that each may make in a minute, on average.
    """

    def __init__(self, per_minute: float) -> None:
        self._fill = per_minute / 60.0
        self._most = max(1.0, per_minute * BURST)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (left, when)

    def wait(self, client: str, now: float) -> float:
        """Take one: 0 when it may ask, else seconds until it may; then nothing is taken."""
        left, when = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + max(0.0, now - when) * self._fill)
        wait = 0.0 if left >= 1.0 else (1.0 - left) / self._fill
        self._buckets[client] = (left if wait else left - 1.0, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait
