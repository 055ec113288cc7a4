"""Candidates without a pool, and calls without time: what balancers are tested on."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Endpoint, Load
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock

PLAIN = Request()


@dataclass(eq=False)
class Standin:
    """What a balancer may see of a member."""

    endpoint: Endpoint
    index: int = 0
    weight: float = 1.0
    in_flight: int = 0
    ewma_seconds: float = 0.0
    ewma_at: float = 0.0
    served: int = 0
    failed: int = 0
    load: Load | None = None

    def __repr__(self) -> str:
        return self.endpoint.id


def standins(n: int, **facts: Any) -> tuple[Standin, ...]:
    """`n` candidates; each fact is a list with one value per candidate."""
    return tuple(
        Standin(Endpoint(f"e{i}"), i, **{name: values[i] for name, values in facts.items()}) for i in range(n)
    )


def picks(balancer: Any, candidates: Any, times: int, seed: int = 7, now: float = 0.0) -> Counter[str]:
    rng = Random(seed)
    return Counter(balancer.pick(candidates, PLAIN, now, rng).endpoint.id for _ in range(times))


def shares(
    balancer: Any,
    service: Callable[[str, Random], tuple[float, bool]],
    *,
    endpoints: list[Endpoint],
    rate: float,
    calls: int,
    seed: int = 1,
    warm_up: int = 0,
) -> dict[str, float]:
    """The share of calls each endpoint gets in virtual time, Poisson arrivals, one try per call.

    Args:
        service: (endpoint id, rng) -> (seconds the call takes, whether it is answered).
        rate: calls a second.
        warm_up: calls at the beginning that are not counted.
    """
    clock, rng = FakeClock(0.0), Random(seed)
    pool = Pool(endpoints, balancer=balancer, breaker=None, clock=clock, seed=seed)
    got: Counter[str] = Counter()
    ends: list[tuple[float, int, Any, Outcome]] = []
    arrival = flying = 0.0
    for call in range(calls):
        arrival += rng.expovariate(rate)
        while ends and ends[0][0] <= arrival:
            at, _, lease, outcome = heapq.heappop(ends)
            clock.advance(at - clock.now())
            lease.settle(outcome)
        clock.advance(arrival - clock.now())
        lease = pool.acquire(PLAIN)
        seconds, answered = service(lease.endpoint.id, rng)
        outcome = Outcome.ok(seconds=seconds) if answered else Outcome.failed(seconds=seconds)
        heapq.heappush(ends, (arrival + seconds, call, lease, outcome))
        flying += len(ends)
        if call >= warm_up:
            got[lease.endpoint.id] += 1
    total = sum(got.values())
    return {"in flight": flying / calls} | {e.id: got[e.id] / total for e in endpoints}
