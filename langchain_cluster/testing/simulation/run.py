"""`simulate`: checks what it is given, puts endpoints, traffic and time together, and lets them run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from random import Random
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.policy import Policy
from langchain_cluster.testing.simulated.latency import Latency
from langchain_cluster.testing.simulation import traffic
from langchain_cluster.testing.simulation.driver import Change, Run
from langchain_cluster.testing.simulation.mishaps import Hanging, Mishap
from langchain_cluster.testing.simulation.result import Simulation
from langchain_cluster.testing.simulation.servers import Servers
from langchain_cluster.testing.simulation.traffic import ClosedLoop, Poisson, Sessions

ONCE = Policy(attempts=1, timeout=None, retry_budget=None)
STEADY = Poisson(50.0)


def simulate(
    endpoints: Sequence[Endpoint],
    *,
    balancer: Any = "peak_ewma",
    service: Mapping[str, Latency] | Latency | None = None,
    slots: Mapping[str, int] | None = None,
    arrivals: Poisson | ClosedLoop = STEADY,
    calls: int = 10_000,
    failing: Iterable[Mishap] = (),
    changes: Iterable[Change] = (),
    sessions: Sessions | None = None,
    request: Callable[[int, Random], Request] | None = None,
    policy: Policy = ONCE,
    seed: int = 0,
    progress: Callable[[int], Any] | None = None,
    **pool_options: Any,
) -> Simulation:
    """Run `calls` calls through a pool in virtual time.

    Args:
        endpoints: the pool at first.
        balancer: a name or a `Balancer`.
        service: seconds an answer takes, or a distribution of them, for all or by endpoint id; 0.1 where
            not given.
        slots: how many answers an endpoint works on at once, by id; further calls wait inside it.
            Unbounded where not given.
        arrivals: when calls come.
        failing: what is wrong with whom, and when: `Failing`, `Hanging`, `Throttling`, `Slowing`.
        changes: (virtual seconds, what to do to the pool then): add, remove, drain ...
        sessions: the conversations that calls belong to, and what remembering one saves.
        request: instead of `sessions`: call number -> request, for keys and tags.
        policy: tries and times of a call. By default it is tried once and may take for ever. The dice of
            its exponential wait are the seed's.
        seed: of arrivals, service times and the pool.
        progress: told now and then how many calls have begun.
        **pool_options: `breaker` and the like, for `Pool`.

    Raises:
        ConfigError: a number out of range; something said of an endpoint that is never in the pool; an
            endpoint that hangs without a time after which a call gives up.
    """
    traffic.count(calls, "calls")
    if sessions is not None and request is not None:
        raise ConfigError("give either sessions or request, not both", key="sessions")
    if not isinstance(arrivals, Poisson | ClosedLoop):
        raise ConfigError(f"{arrivals!r} is neither Poisson nor ClosedLoop", key="arrivals")
    mishaps, slots = list(failing), dict(slots or {})
    for id, number in slots.items():
        traffic.count(number, f"slots.{id}")
    endless = policy.timeout is None and policy.attempt_timeout is None
    if endless and any(isinstance(mishap, Hanging) for mishap in mishaps):
        raise ConfigError(
            "a call on an endpoint that hangs would never end: give it a time,"
            " such as Policy(attempt_timeout=10.0)",
            key="policy",
        )
    by_id = service if isinstance(service, Mapping) else {}
    for id, latency in by_id.items() if by_id else [("", service)]:
        _check(latency, f"service.{id}".rstrip("."))
    run = Run(endpoints, balancer, arrivals, calls, policy, Random(seed), seed, pool_options, progress)
    default = {} if service is None or isinstance(service, Mapping) else _Everybody(service)
    run.servers = Servers(by_id or default, slots, mishaps, sessions, run.rng)
    run.request = sessions.draw if sessions else _numbered(request, run)
    named = {*by_id, *slots, *(mishap.endpoint for mishap in mishaps)}
    changes = list(changes)
    if not changes:
        run.check(named)
    for at, change in changes:
        traffic.number(at, "changes")
        run.at(at, change, run.pool)
    run.go()
    run.check(named)
    return run.result


def _check(latency: Any, key: str) -> None:
    if latency is not None and not callable(getattr(latency, "draw", None)):
        traffic.number(latency, key)
        if latency == inf:
            raise ConfigError("an answer has an end: an endpoint without one is `Hanging`", key=key)


class _Everybody(dict[str, Latency]):
    """One service time for whoever there is."""

    def __init__(self, service: Latency) -> None:
        super().__init__()
        self._service = service

    def get(self, id: str, default: Any = None) -> Any:
        return self._service


def _numbered(request: Callable[[int, Random], Request] | None, run: Run) -> Callable[[Random], Request]:
    if request is None:
        plain = Request()
        return lambda rng: plain
    return lambda rng: request(run.begun, rng)
