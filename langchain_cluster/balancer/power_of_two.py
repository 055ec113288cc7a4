"""The less busy of two: nearly as good as knowing everybody's load, without herding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import Tables, even, hands
from langchain_cluster.balancer.two import FEW, two_of
from langchain_cluster.model.call import Request


class PowerOfTwo:
    """Of two distinct candidates the one with fewer calls in flight for its weight; ties by chance."""

    name = "power_of_two"

    def __init__(self) -> None:
        self._tables = Tables(_table)

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The less busy of two, or of all when there are at most three."""
        known, table = self._tables.last
        if known is not candidates:
            entry = self._tables.find(candidates, rng)
            table = (None, False, True) if entry is None else entry[1]
        deal, pairs, alike = table
        if not pairs:
            best, *others = two_of(candidates, rng) if deal is None else deal()
            for other in others:
                if other.in_flight * best.weight < best.in_flight * other.weight:
                    best = other
            return best
        one, other = deal()
        if alike:
            return other if other.in_flight < one.in_flight else one
        return other if other.in_flight * one.weight < one.in_flight * other.weight else one

    def __repr__(self) -> str:
        return "PowerOfTwo()"


def _table(candidates: Sequence[Any], rng: Random) -> tuple[Callable[[], Sequence[Any]], bool, bool]:
    size = FEW if len(candidates) <= FEW else 2
    return hands(candidates, size, rng), min(size, len(candidates)) == 2, even(candidates)
