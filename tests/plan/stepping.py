"""A plan stepped by hand: the test is the driver, and reads what the plan asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.flights import Flights
from langchain_cluster.model.call import Answer, Attempt, Outcome, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import AttemptEnded, CacheFailed, CallEnded, Event
from langchain_cluster.model.label import unlabelled
from langchain_cluster.model.policy import Policy
from langchain_cluster.plan.call import complete, relay
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Call, Effect, Open, Sleep, Started
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock


class InTurn:
    """The first of the candidates, so that tests know who is asked."""

    name = "in_turn"

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Any) -> Any:
        return candidates[0]


class OneKey:
    """Every request has one key, whoever answers; more where a test says so."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys or ("k",)

    def all(self, request: Request) -> tuple[str, ...]:
        return self.keys if request.fingerprint is not None else ()

    def of(self, request: Request, endpoint: Endpoint) -> str:
        return f"{self.keys[0]}@{endpoint.id}"


class Words:
    """Texts as bytes."""

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError("not a text")
        return value.encode()

    def decode(self, raw: bytes) -> Any:
        if raw == b"broken":
            raise ValueError("not ours")
        return unlabelled(raw).decode()


class Stream:
    """An opened stream as plans see it."""

    def __init__(self, partial: Any = "so far") -> None:
        self._partial = partial

    def partial(self) -> Any:
        return self._partial


class World:
    """A pool, a clock, a cache to be, and everything that was told."""

    def __init__(
        self,
        *endpoints: str | Endpoint,
        cache: bool = False,
        budget: float | None = None,
        flights: Flights | None = None,
        pool: dict[str, Any] | None = None,
        **policy: Any,
    ) -> None:
        self.clock = FakeClock(1000.0)
        self.events: list[Event] = []
        roster = [Endpoint(e) if isinstance(e, str) else e for e in endpoints]
        options = {"balancer": InTurn(), "seed": 7} | (pool or {})
        self.pool = Pool(roster, clock=self.clock, **options)
        self.cx = Context(
            self.pool,
            Policy(**{"wait": lambda state: 0.5} | policy),
            self.clock.now,
            emit=self.events.append,
            budget=None if budget is None else RetryBudget(budget, 1000.0),
            flights=flights,
            keys=OneKey() if cache else None,
            codec=Words() if cache else None,
        )

    def __getitem__(self, id: str) -> Member:
        member = self.pool.get(id)
        assert member is not None
        return member

    def ask(self, request: Request | None = None, *, stream: bool = False) -> Stepped:
        return Stepped(self, (relay if stream else complete)(request or Request(fingerprint="f"), self.cx))

    @property
    def in_flight(self) -> int:
        return sum(member.in_flight for member in self.pool)

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> CallEnded:
        """The one event of the one call's end."""
        (event,) = self.told(CallEnded)
        return event

    @property
    def reports(self) -> list[str]:
        return [str(event.report) for event in self.told(AttemptEnded)]

    @property
    def cache_failures(self) -> list[tuple[str, str]]:
        return [(event.operation, event.error) for event in self.told(CacheFailed)]


class Stepped:
    """One plan. `now` is what it asks for; answer it."""

    def __init__(self, world: World, plan: Any) -> None:
        self.world, self.plan = world, plan
        self.now: Effect[Any] | None = None
        self.answer: Answer | None = None
        self._step(lambda: next(plan))

    def _step(self, step: Any) -> Effect[Any] | None:
        try:
            self.now = step()
        except StopIteration as stop:
            self.now, self.answer = None, stop.value
        return self.now

    def send(self, value: Any = None) -> Effect[Any] | None:
        """Answer what it asks for."""
        return self._step(lambda: self.plan.send(value))

    def throw(self, error: BaseException) -> Effect[Any] | None:
        """What it asks for fails."""
        return self._step(lambda: self.plan.throw(error))

    def raises(self, kind: type[BaseException], value: Any = None) -> Any:
        """Answer what it asks for; the call ends with this error."""
        with pytest.raises(kind) as caught:
            self.plan.send(value)
        self.now = None
        return caught.value

    @property
    def attempt(self) -> Attempt:
        """Whom it asks."""
        assert isinstance(self.now, Call | Open), self.now
        return self.now.attempt

    @property
    def endpoint(self) -> str:
        return self.attempt.endpoint.id

    def pause(self) -> float:
        """How long it wants to sleep; time passes, and it goes on."""
        assert isinstance(self.now, Sleep), self.now
        seconds = self.now.seconds
        self.world.clock.advance(seconds)
        self.send(None)
        return seconds

    def started(self, partial: Any = "so far") -> Outcome:
        """The outcome of an `Open` that has delivered its first token."""
        return Outcome.ok(value=Started(self.attempt, Stream(partial), ["first"], iter(())))

    def leave(self) -> None:
        """The caller has left."""
        self.plan.close()
