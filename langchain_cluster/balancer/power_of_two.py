"""The less busy of two: nearly as good as knowing everybody's load, without herding."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from langchain_cluster.balancer.two import two_of
from langchain_cluster.model.call import Request


class PowerOfTwo:
    """Of two distinct candidates the one with fewer calls in flight for its weight; ties by chance."""

    name = "power_of_two"

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        """The less busy of two, or of all when there are at most three."""
        best, *others = two_of(candidates, rng)
        for other in others:
            if other.in_flight * best.weight < best.in_flight * other.weight:
                best = other
        return best

    def __repr__(self) -> str:
        return "PowerOfTwo()"
