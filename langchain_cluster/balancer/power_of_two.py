"""The less busy of two: nearly as good as knowing everybody's load, without herding."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import Choose, Tabled, even, hands, weighted_hands
from langchain_cluster.balancer.two import FEW, two_of
from langchain_cluster.model.call import Request


class PowerOfTwo(Tabled):
    """Of two distinct candidates the one with fewer calls in flight for its weight.

    Ties are decided by chance, and by weight: an idle pool is asked in proportion to it.
    """

    name = "power_of_two"

    def _glance(self, candidates: Sequence[Any], now: float, rng: Random) -> Any:
        return _less_busy(two_of(candidates, rng))

    def _chooser(self, candidates: Sequence[Any], rng: Random) -> Choose:
        return _chooser(candidates, rng)

    def __repr__(self) -> str:
        return "PowerOfTwo()"


def _less_busy(hand: Sequence[Any]) -> Any:
    best, *others = hand
    for other in others:
        if other.in_flight * best.weight < best.in_flight * other.weight:
            best = other
    return best


def _chooser(candidates: Sequence[Any], rng: Random) -> Choose:
    alike_all, size = even(candidates), FEW if len(candidates) <= FEW else 2
    deal = hands(candidates, size, rng) if alike_all else weighted_hands(candidates, size, rng)
    if len(candidates) == 1 or len(candidates) == FEW:
        return lambda request, now: _less_busy(deal())

    def alike(request: Request, now: float) -> Any:
        one, other = deal()
        return other if other.in_flight < one.in_flight else one

    def weighted(request: Request, now: float) -> Any:
        one, other = deal()
        return other if other.in_flight * one.weight < one.in_flight * other.weight else one

    return alike if alike_all else weighted
