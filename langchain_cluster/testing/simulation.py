"""Traffic over a pool in virtual time: what a balancer would do, in a second, without a server.

    result = simulate(
        [Endpoint("fast"), Endpoint("slow")],
        balancer="peak_ewma",
        service={"fast": Fixed(0.1), "slow": Fixed(1.0)},
        arrivals=Poisson(rate=50),
        calls=10_000,
        seed=1,
    )
    result.share("slow"), result.quantile(0.99)

The pool is the real one; only the endpoints and the time are made up. The same seed gives the same
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, Protocol

from langchain_cluster.errors import ConfigError, NoEndpointAvailable
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool import Lease, Pool
from langchain_cluster.testing.clock import FakeClock
from langchain_cluster.testing.simulated.latency import Fixed


class Drawn(Protocol):
    """A distribution of seconds."""

    def draw(self, rng: Random) -> float:
        """One value, >= 0."""


@dataclass(frozen=True, slots=True)
class Poisson:
    """Open arrivals: `rate` calls a second, at random, whatever the pool can bear."""

    rate: float


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`callers` that each call again as soon as they are answered: that many calls in flight."""

    callers: int


@dataclass(frozen=True, slots=True)
class Failing:
    """An endpoint that fails after `seconds`, with `probability`, from `start` to `end` (virtual time)."""

    endpoint: str
    seconds: float = 0.0
    probability: float = 1.0
    start: float = 0.0
    end: float = float("inf")


@dataclass(slots=True)
class Simulation:
    """What happened. Latencies are in seconds of the calls that were answered."""

    served: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    refused: int = 0  # nobody could be asked
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    events: list[Any] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Attempts that an endpoint saw."""
        return sum(self.served.values()) + sum(self.failed.values())

    def share(self, endpoint: str) -> float:
        """The part of all attempts that went to `endpoint`, 0-1."""
        seen = self.served.get(endpoint, 0) + self.failed.get(endpoint, 0)
        return seen / self.calls if self.calls else 0.0

    def quantile(self, q: float) -> float:
        """The latency that a part `q` (0-1) of the answered calls did not exceed."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def simulate(
    endpoints: Sequence[Endpoint],
    *,
    balancer: Any = "peak_ewma",
    service: Mapping[str, Drawn] | None = None,
    arrivals: Poisson | ClosedLoop = Poisson(50.0),
    calls: int = 10_000,
    failing: Iterable[Failing] = (),
    changes: Iterable[tuple[float, Callable[[Pool], Any]]] = (),
    request: Callable[[int, Random], Request] | None = None,
    seed: int = 0,
    **pool_options: Any,
) -> Simulation:
    """Run `calls` calls through a pool in virtual time.

    Args:
        endpoints: the pool at first.
        balancer: a name or a `Balancer`.
        service: seconds an endpoint takes, by id; 0.1 where not given.
        arrivals: when calls come.
        failing: endpoints that fail, and when.
        changes: (virtual seconds, what to do to the pool then): add, remove, drain ...
        request: call number -> request, for keys and tags.
        seed: of arrivals, service times and the pool.
        **pool_options: `breaker` and the like, for `Pool`.

    Raises:
        ConfigError: a service time or a failure for an endpoint that is never in the pool.
    """
    clock, rng, result = FakeClock(start=0.0), Random(seed), Simulation()
    options = {"emit": result.events.append, **pool_options}
    pool = Pool(endpoints, balancer=balancer, clock=clock, seed=seed, **options)
    times, faults = dict(service or {}), list(failing)
    changes = list(changes)
    if not changes:
        known = [endpoint.id for endpoint in endpoints]
        for id in (*times, *(fault.endpoint for fault in faults)):
            if id not in known:
                raise ConfigError(f"no endpoint {id!r} in the simulation", valid=known, got=id)
    agenda: list[tuple[float, int, str, Any]] = []
    order, begun = count(), 0

    def plan(at: float, kind: str, what: Any = None) -> None:
        heappush(agenda, (at, next(order), kind, what))

    def begin(now: float) -> None:
        asked = Request() if request is None else request(begun, rng)
        try:
            lease = pool.acquire(asked)
        except NoEndpointAvailable as nobody:
            result.refused += 1
            if isinstance(arrivals, ClosedLoop):
                plan(now + max(0.001, nobody.retry_after or 0.1), "begin")
            return
        id = lease.endpoint.id
        fault = next((f for f in faults if f.endpoint == id and f.start <= now < f.end), None)
        if fault is not None and rng.random() < fault.probability:
            plan(now + fault.seconds, "end", (lease, now, True))
        else:
            plan(now + times.get(id, Fixed(0.1)).draw(rng), "end", (lease, now, False))

    def end(now: float, ended: tuple[Lease, float, bool]) -> None:
        lease, started, failed = ended
        id, seconds = lease.endpoint.id, now - started
        lease.settle(Outcome.failed("simulated", seconds=seconds) if failed else Outcome.ok(seconds=seconds))
        counts = result.failed if failed else result.served
        counts[id] = counts.get(id, 0) + 1
        if not failed:
            result.latencies.append(seconds)
        if isinstance(arrivals, ClosedLoop):
            plan(now, "begin")

    for at, change in changes:
        plan(at, "change", change)
    for _ in range(arrivals.callers if isinstance(arrivals, ClosedLoop) else 1):
        plan(0.0, "begin")
    while agenda:
        at, _, kind, what = heappop(agenda)
        clock.advance(at - clock.now())
        if kind == "change":
            what(pool)
        elif kind == "end":
            end(at, what)
        elif begun < calls:
            begin(at)
            begun += 1
            if isinstance(arrivals, Poisson):
                plan(at + rng.expovariate(arrivals.rate), "begin")
    result.seconds = clock.now()
    return result
