"""How long answers took lately, and the quantile of it a hedge waits for. It is told every sample."""

from __future__ import annotations

from collections import deque
from math import ceil, isfinite

KEPT = 256  # samples: enough for a p99, few enough to follow a change within minutes
FEWEST = 20  # samples; of fewer, a high quantile is the longest one seen
_REFRESH = 16  # samples between two sorts


class Lately:
    """How long whole answers took, and first tokens of streams."""

    __slots__ = ("first_token", "whole")

    def __init__(self) -> None:
        self.whole, self.first_token = Recent(), Recent()


class Recent:
    """The last `KEPT` lengths of time.

    Not locked: appending to a bounded deque is atomic, and a quantile may miss a sample of this moment.
    """

    __slots__ = ("_count", "_known", "_samples", "_sorted_at")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=KEPT)
        self._count = 0
        self._sorted_at = 0
        self._known: list[float] = []

    def add(self, seconds: float) -> None:
        """A sample, >= 0; what is no length of time is left out."""
        if isfinite(seconds) and seconds >= 0.0:
            self._samples.append(seconds)
            self._count += 1

    def quantile(self, part: float) -> float | None:
        """The length that `part` (0-1] of the samples do not exceed; None while there are too few."""
        if len(self._samples) < FEWEST:
            return None
        if not self._known or self._count - self._sorted_at >= _REFRESH:
            self._known, self._sorted_at = sorted(self._samples.copy()), self._count
        return self._known[max(0, ceil(part * len(self._known)) - 1)]

    def __repr__(self) -> str:
        median = self.quantile(0.5)
        known = "too few for a quantile" if median is None else f"median {median:.3f} s"
        return f"<Recent {len(self._samples)} samples, {known}>"
