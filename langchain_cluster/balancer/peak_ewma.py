"""The one expected to answer soonest: recent latency, times the calls ahead of yours.

Finagle's PeakEwma (`com.twitter.finagle.loadbalancer.PeakEwma`), as in tower and linkerd. The
average itself is kept by the pool's members: a sample above it replaces it at once, one below decays
in, so that an endpoint that turns slow is known after one answer and forgiven slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import Choose, Tabled, even, hands
from langchain_cluster.balancer.two import FEW, two_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request


class PeakEwma(Tabled):
    """Of two candidates the one with the lower cost = latency * (in flight + 1) / weight.

    Args:
        decay: seconds for an old latency to lose 63 % of its weight, > 0.
    """

    name = "peak_ewma"

    def __init__(self, decay: float = 10.0) -> None:
        if type(decay) not in (int, float) or not decay > 0:
            raise ConfigError(f"decay {decay!r} is not a number of seconds > 0", key="balancer.decay")
        self.decay = decay
        super().__init__()

    def _glance(self, candidates: Sequence[Any], now: float, rng: Random) -> Any:
        return self._cheapest(two_of(candidates, rng), now)

    def _chooser(self, candidates: Sequence[Any], rng: Random) -> Choose:
        deal, cheapest = hands(candidates, FEW if len(candidates) <= FEW else 2, rng), self._cheapest
        if len(candidates) == 1 or len(candidates) == FEW:
            return lambda request, now: cheapest(deal(), now)

        decay, rate = self.decay, 1.0 / self.decay

        def faded(one: Any, other: Any, mine: float, theirs: float, now: float) -> Any:
            measured, theirs_measured = one.ewma_at, other.ewma_at
            if not mine or not theirs or measured > now or theirs_measured > now:
                return cheapest((one, other), now)
            try:  # how long ago now is cancels out
                mine *= exp((measured - theirs_measured) / decay)
            except OverflowError:  # theirs is so old that it has faded away
                return other
            return other if theirs < mine else one

        # As `cost`. Who is the dearer, and was measured later, is the dearer however fast that fades; who
        # was measured so little earlier that it cannot have faded enough (exp(-x) >= 1 - x) is it as well.
        def alike(request: Request, now: float) -> Any:
            one, other = deal()
            mine = one.ewma_seconds * (one.in_flight + 1)
            theirs = other.ewma_seconds * (other.in_flight + 1)
            if theirs < mine:
                later = other.ewma_at - one.ewma_at
                if theirs and (later <= 0.0 or mine * (1.0 - later * rate) > theirs):
                    return other
            elif mine:
                later = one.ewma_at - other.ewma_at
                if later <= 0.0 or theirs * (1.0 - later * rate) > mine:
                    return one
            return faded(one, other, mine, theirs, now)

        def weighted(request: Request, now: float) -> Any:
            one, other = deal()
            mine = one.ewma_seconds * (one.in_flight + 1) / one.weight
            theirs = other.ewma_seconds * (other.in_flight + 1) / other.weight
            if theirs < mine:
                later = other.ewma_at - one.ewma_at
                if theirs and (later <= 0.0 or mine * (1.0 - later * rate) > theirs):
                    return other
            elif mine:
                later = one.ewma_at - other.ewma_at
                if later <= 0.0 or theirs * (1.0 - later * rate) > mine:
                    return one
            return faded(one, other, mine, theirs, now)

        return alike if even(candidates) else weighted

    def _cheapest(self, hand: Sequence[Any], now: float) -> Any:
        best, *others = hand
        if others:
            lowest = self.cost(best, now)
            for other in others:
                cost = self.cost(other, now)
                if cost < lowest:
                    best, lowest = other, cost
        return best

    def cost(self, member: Any, now: float) -> float:
        """Expected seconds until `member` would answer, for its weight.

        Without history the first call is free and a second infinitely dear: exactly one probe goes
        out until it answers. The latency fades while nobody asks, or one failure would last for ever.
        """
        latency: float = member.ewma_seconds
        if latency <= 0.0:
            return inf if member.in_flight else 0.0
        idle = now - member.ewma_at
        if idle > 0.0:
            latency *= exp(-idle / self.decay)
        cost: float = latency * (member.in_flight + 1) / member.weight
        return cost

    def __repr__(self) -> str:
        return f"PeakEwma(decay={self.decay:g})"
