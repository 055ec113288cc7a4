"""The loop of a simulation: performs the effects of real calls' plans in virtual time.

A third driver beside the blocking one and the one for tasks (`langchain_cluster.drive`), and the only one
in which no time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from tenacity.wait import wait_random_exponential

from langchain_cluster.drive.limits import too_late
from langchain_cluster.errors import ClusterError, ConfigError, NoEndpointAvailable
from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.model.call import Answer, Attempt, Outcome, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import EndpointJoined
from langchain_cluster.model.policy import Policy
from langchain_cluster.plan import effects as fx
from langchain_cluster.plan.call import complete
from langchain_cluster.plan.context import Context
from langchain_cluster.pool import Pool
from langchain_cluster.ports import Awaited
from langchain_cluster.testing.clock import FakeClock
from langchain_cluster.testing.simulation.result import Simulation, Tried
from langchain_cluster.testing.simulation.servers import Servers, SimulatedFailure
from langchain_cluster.testing.simulation.traffic import ClosedLoop, Poisson

COME_BACK = 0.1  # seconds until a caller that was refused calls again, in a closed loop
TOLD_EVERY = 250  # calls

Change = tuple[float, Callable[[Pool], Any]]


@dataclass(slots=True, eq=False)
class Call:
    """One call under way: its plan, and the attempt it made last."""

    plan: fx.Plan[Answer]
    began: float
    last: Tried | None = None


class Run:
    """One simulation while it lasts."""

    servers: Servers
    request: Callable[[Random], Request]

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        balancer: Any,
        arrivals: Poisson | ClosedLoop,
        calls: int,
        policy: Policy,
        rng: Random,
        seed: int,
        pool_options: Mapping[str, Any],
        progress: Callable[[int], Any] | None,
    ) -> None:
        self.arrivals, self.calls, self.rng, self.begun = arrivals, calls, rng, 0
        self.clock, self.result, self.known = FakeClock(start=0.0), Simulation(), set[str]()
        self._progress = progress or (lambda begun: None)
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        options = dict(pool_options)
        self._emit = options.pop("emit", self.result.events.append)
        self.pool = Pool(
            endpoints, balancer=balancer, clock=self.clock, seed=seed, emit=self._told, **options
        )
        budget = None if policy.retry_budget is None else RetryBudget(policy.retry_budget, 0.0)
        self._context = Context(
            self.pool, _with_dice(policy, rng), self.clock.now, budget=budget, heard=False
        )

    def _told(self, event: Any) -> None:
        if isinstance(event, EndpointJoined):
            self.known.add(event.endpoint.id)
        self._emit(event)

    def check(self, named: Iterable[str]) -> None:
        """Raise ConfigError for the first that is never in the pool."""
        for id in named:
            if id not in self.known:
                raise ConfigError(f"no endpoint {id!r} in the simulation", valid=sorted(self.known), got=id)

    def at(self, when: float, act: Callable[..., Any], *about: Any) -> None:
        """Do this then; what is to be done at one time is done in the order it was asked for."""
        heappush(self._agenda, (when, next(self._order), act, about))

    def go(self) -> None:
        """Until every call has ended."""
        for _ in range(
            min(self.arrivals.callers, self.calls) if isinstance(self.arrivals, ClosedLoop) else 1
        ):
            self.at(0.0, self._begin)
        while self._agenda:
            when, _, act, about = heappop(self._agenda)
            self.clock.advance(when - self.clock.now())
            act(*about)
        self.result.seconds = self.clock.now()
        if self.servers.looked:
            self.result.hit_ratio = self.servers.hits / self.servers.looked
        self._progress(self.begun)

    def _begin(self) -> None:
        if self.begun >= self.calls:
            return
        now = self.clock.now()
        call = Call(complete(self.request(self.rng), self._context), now)
        self.begun += 1
        if self.begun % TOLD_EVERY == 0:
            self._progress(self.begun)
        self._step(call, None)
        if isinstance(self.arrivals, Poisson):
            self.at(now + self.rng.expovariate(self.arrivals.rate), self._begin)

    def _step(self, call: Call, answer: Any) -> None:
        """Give the plan the answer to what it asked for, and begin what it asks for next."""
        now = self.clock.now()
        try:
            effect = call.plan.send(answer)
        except StopIteration:
            self.result.latencies.append(now - call.began)
            again = 0.0
        except (ClusterError, SimulatedFailure, TimeoutError) as failure:
            again = 0.0
            if isinstance(failure, NoEndpointAvailable):
                self.result.refused += 1
                again = max(0.001, failure.retry_after or COME_BACK)
            else:
                self.result.lost += 1
        else:
            self._perform(call, effect, now)
            return
        if isinstance(self.arrivals, ClosedLoop):
            self.at(now + again, self._begin)

    def _perform(self, call: Call, effect: fx.Effect[Any], now: float) -> None:
        match effect:
            case fx.Call(attempt):
                self._call(call, attempt, now)
            case fx.Sleep(seconds):
                self.at(now + seconds, self._step, call, None)
            case fx.Wait(awaited, until):
                self._wait(call, awaited, until)
            case _:
                with closing(call.plan):
                    raise TypeError(f"a simulation cannot perform {effect!r}")

    def _call(self, call: Call, attempt: Attempt, now: float) -> None:
        if call.last is not None:
            retried = self.result.retried
            retried[call.last.endpoint] = retried.get(call.last.endpoint, 0) + 1
        seconds, outcome = self.servers.ask(attempt.endpoint.id, attempt.request, now)
        until = attempt.limits.until
        if until is not None and now + seconds > until:
            seconds = max(0.0, until - now)
            outcome = too_late(attempt.endpoint, "no answer within the time of the attempt", seconds)
        self.at(now + seconds, self._ended, call, attempt, now, outcome)

    def _ended(self, call: Call, attempt: Attempt, began: float, outcome: Outcome) -> None:
        again = call.last is not None
        call.last = Tried(began, self.clock.now() - began, attempt.endpoint.id, outcome.verdict, again)
        self.result.note(call.last)
        self._step(call, outcome)

    def _wait(self, call: Call, awaited: Awaited, until: float | None) -> None:
        waiting = True

        def tell() -> None:
            self.at(self.clock.now(), resume)

        def resume() -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                awaited.unsubscribe(tell)
                self._step(call, None)

        if until is not None:
            self.at(until, resume)
        awaited.subscribe(tell)


def _with_dice(policy: Policy, rng: Random) -> Policy:
    """The same, with the dice of its exponential wait our own: tenacity's are everybody's."""
    wait = policy.wait
    if type(wait) is not wait_random_exponential:
        return policy
    least, most = wait.min, wait.max

    def by_chance(state: Any) -> float:
        high = min(wait.multiplier * wait.exp_base ** (state.attempt_number - 1), most)
        return rng.uniform(least, max(least, high))

    return policy.but(wait=by_chance)
