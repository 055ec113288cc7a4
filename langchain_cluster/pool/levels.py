"""Priority levels: how much traffic each carries, and what to do when there is not enough of any.

Envoy's rule. A level that is healthy for 1.4 times what is needed keeps all of its traffic: at 72 %
healthy it still does, at 71 % it spills 1 % to the next level. When all levels together are not enough,
a level that is less than half healthy is used whole, ejected and unhealthy endpoints included: loading
the few good ones to death helps nobody (panic). An open circuit stays open even then.
"""

from __future__ import annotations

from collections.abc import Sequence

OVERPROVISIONED = 140.0  # percent
PANIC_BELOW = 0.5  # of a level's endpoints


def shares(counts: Sequence[tuple[int, int]]) -> tuple[list[float], float]:
    """The part of the traffic of each level, and how healthy all are together.

    Args:
        counts: (ready, all) per level, the first level first.

    Returns:
        Parts that add up to 1 (all 0 when nobody is ready), and the sum of healths in percent, <= 100.
    """
    healths = [min(100.0, OVERPROVISIONED * ready / total) if total else 0.0 for ready, total in counts]
    together = min(100.0, sum(healths))
    if together <= 0.0:
        return [0.0] * len(healths), 0.0
    left, parts = together, []
    for health in healths:
        part = min(health, left)
        left -= part
        parts.append(part / together)
    return parts, together


def panics(ready: int, total: int, together: float) -> bool:
    """Whether a level is to be used whole."""
    return together < 100.0 and total > 0 and ready / total < PANIC_BELOW
