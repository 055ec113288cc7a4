"""Two choices: look at two distinct candidates taken by chance, or at all of them when they are few.

Mitzenmacher, "The power of two choices in randomized load balancing" (2001). Distinct matters: Envoy
samples with replacement, so that with two hosts the busy one still gets a quarter of the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

FEW = 3  # up to this many, looking at all costs no more than choosing two


def two_of(candidates: Sequence[Any], rng: Random) -> Sequence[Any]:
    """Two distinct candidates in a random order; all of them when they are few."""
    n = len(candidates)
    if n <= FEW:
        # From a random start and in either direction, which for three is every order: always forwards,
        # of two that tie the one behind a busy third would get twice as much.
        turn = int(rng.random() * (n + n))
        if turn >= n:
            turn -= n
            candidates = candidates[::-1]
        return (*candidates[turn:], *candidates[:turn])
    first, second = divmod(int(rng.random() * (n * (n - 1))), n - 1)
    return candidates[first], candidates[second + (second >= first)]
