"""Smooth weighted round robin: in every period each gets exactly its weight, and as spread out as can be.

nginx's rule (`ngx_http_upstream_round_robin.c`): at each turn everybody gains their weight, the highest
current one is asked (the first on a tie) and pays the total. 5, 1, 1 gives a a b a c a a, not a burst of
five. It costs O(n) a turn, so a whole period (sum of the weights over their greatest common divisor) is
played once per set of candidates and then read in a circle: one C call, exact under threads.

A schedule too long to be written down (many endpoints, or weights with little in common) goes by
earliest deadline: each is due again 1 / weight after it was asked. Written down where a period is short
enough, else kept in a heap, O(log n).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import chain, cycle
from math import gcd, lcm
from operator import add
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import ALIKE, Tables, remember
from langchain_cluster.model.call import Request

SMOOTH_ENDPOINTS, SMOOTH_PERIOD = 200, 4096  # a smooth schedule costs their product to make
WRITTEN_PERIOD = 65_536  # the longest schedule that is written down at all

Turns = Callable[[], Any]


class Weighted:
    """Each in turn, as often as its weight says, whatever its load."""

    name = "weighted"

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], Turns] = {}
        self._tables: Tables[Turns] = Tables(self._turns)

    def turns(self, candidates: Sequence[Any], rng: Random) -> Callable[[], Any]:
        """Gives `candidates` in turn: what `pick` does, for whoever will ask for the same ones often."""
        return self._tables.keep(candidates, rng)[1]

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The next in turn."""
        known, turn = self._tables.last
        if known is candidates:
            return turn()
        entry = self._tables.find(candidates, rng)
        return (self._turns(candidates, rng) if entry is None else entry[1])()

    def _turns(self, candidates: Sequence[Any], rng: Random) -> Turns:
        key = (tuple(candidates), *(member.weight for member in candidates))
        turns = self._alike.get(key)
        if turns is None:
            # The first begins at the beginning. Would all that follow do so too, the heaviest endpoint
            # got more than its share from a pool that changes often.
            phase = rng.random() if self._alike else 0.0
            turns = remember(self._alike, key, turns_of(key[0], key[1:], phase), ALIKE)
        return turns

    def __repr__(self) -> str:
        return "Weighted()"


def turns_of(candidates: Sequence[Any], weights: Sequence[float], phase: float = 0.0) -> Turns:
    """Gives the candidates in turn, for ever.

    Args:
        weights: one each; those that are not > 0 have no turn, unless nobody has.
        phase: where in the period to begin, 0-1.
    """
    weighted = [(c, w) for c, w in zip(candidates, weights, strict=True) if w > 0]
    weighted = weighted or [(c, 1.0) for c in candidates]
    members = [member for member, _ in weighted]
    shares = integers([weight for _, weight in weighted])
    period = sum(shares)
    if period > WRITTEN_PERIOD:
        return Deadlines(members, [weight for _, weight in weighted], phase)
    short = len(members) <= SMOOTH_ENDPOINTS and period <= SMOOTH_PERIOD
    order = smooth(shares) if short else by_deadline(shares)
    start = int(phase * period)
    return cycle([members[i] for i in chain(order[start:], order[:start])]).__next__


def integers(weights: Sequence[float]) -> list[int]:
    """The smallest integers in the same proportions; 0.1 is a tenth, as it is written."""
    exact = [Fraction(repr(weight)) for weight in weights]
    scale = lcm(*(fraction.denominator for fraction in exact))
    whole = [int(fraction * scale) for fraction in exact]
    common = gcd(*whole)
    return [number // common for number in whole]


def smooth(shares: Sequence[int]) -> list[int]:
    """One period of places in `shares`, by nginx's rule."""
    total, current = sum(shares), [0] * len(shares)
    order = []
    for _ in range(total):
        current = list(map(add, current, shares))
        best = current.index(max(current))
        current[best] -= total
        order.append(best)
    return order


def by_deadline(shares: Sequence[int]) -> list[int]:
    """One period of places in `shares`, the earliest deadline first."""
    due = [(turn / share, place) for place, share in enumerate(shares) for turn in range(1, share + 1)]
    return [place for _, place in sorted(due)]


class Deadlines:
    """Turns by earliest deadline from a heap; whoever is asked is due again 1 / weight later."""

    def __init__(self, members: Sequence[Any], weights: Sequence[float], phase: float) -> None:
        self._members = members
        highest = max(weights)
        self._spacing = [highest / weight for weight in weights]
        self._heap = [(spacing * (1.0 - phase), place) for place, spacing in enumerate(self._spacing)]
        heapify(self._heap)

    def __call__(self) -> Any:
        try:
            due, place = heappop(self._heap)
        except IndexError:  # as many threads as endpoints: all of them are being asked at this moment
            return self._members[0]
        heappush(self._heap, (due + self._spacing[place], place))
        return self._members[place]
