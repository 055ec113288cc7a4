"""Within which bounds a rate lies, after so many trials.

The interval of Wilson (1927): it stays within 0 and 1, and says something of 0 wrong in 20 too.
"""

from __future__ import annotations

from math import sqrt

Z = 1.959964  # 95 %


def wilson(found: int, of: int, z: float = Z) -> tuple[float, float]:
    """The bounds of the rate `found` / `of`; 0 to 1 when there were no trials.

    Args:
        z: standard deviations to either side, > 0.
    """
    if not of:
        return 0.0, 1.0
    rate, spread = found / of, z * z / of
    middle = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / of + spread / (4 * of)) / (1 + spread)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if not found else low), (1.0 if found == of else high)
