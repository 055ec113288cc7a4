"""What an operator may do to an endpoint's circuit while calls go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from langchain_cluster import BreakerPolicy, ConfigError, Endpoint, NoEndpointAvailable, Outcome, Pool
from langchain_cluster.model.events import BreakerChanged, Event
from langchain_cluster.testing import FakeClock


class Watched:
    """A pool of two, and what it told."""

    def __init__(self, breaker: BreakerPolicy | None = BreakerPolicy(consecutive_failures=2)) -> None:  # noqa: B008
        self.told: list[Event] = []
        self.clock = FakeClock()
        self.pool = Pool(
            [Endpoint("a"), Endpoint("b")], breaker=breaker, clock=self.clock, emit=self.told.append, seed=1
        )
        self.told.clear()

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.pool.acquire(exclude=("b",)).settle(Outcome.failed("refused"))

    def state(self) -> str:
        member = self.pool.get("a")
        assert member is not None
        return member.breaker_state.value

    def changes(self) -> list[tuple[str, str, str]]:
        return [(e.endpoint, e.before, e.state) for e in self.told if isinstance(e, BreakerChanged)]


def test_with_metrics_only_an_endpoint_that_fails_is_asked_on_and_counted() -> None:
    watched = Watched()
    watched.pool.metrics_only("a")
    watched.fail(20)
    member = watched.pool.get("a")
    assert member is not None
    assert (watched.state(), member.breaker.counts(1000.0)) == ("metrics_only", (20, 20, 0))
    assert watched.changes() == [("a", "closed", "metrics_only")]


@pytest.mark.parametrize("act", ["metrics_only", "disable_breaker", "force_open"])
def test_what_was_done_by_hand_can_be_undone_by_hand(act: str) -> None:
    watched = Watched()
    getattr(watched.pool, act)("a")
    watched.pool.enable_breaker("a")
    assert watched.state() == "closed"
    watched.fail(2)
    assert watched.state() == "open"
    with pytest.raises(NoEndpointAvailable):
        watched.pool.acquire(exclude=("b",))


def test_enabling_a_breaker_keeps_what_else_is_held_against_the_endpoint() -> None:
    watched = Watched()
    watched.pool.acquire(exclude=("b",)).settle(Outcome.throttled(retry_after=30.0))
    watched.pool.disable_breaker("a")
    watched.pool.enable_breaker("a")
    with pytest.raises(NoEndpointAvailable, match="cooling down"):
        watched.pool.acquire(exclude=("b",))


def test_where_a_pool_does_not_break_enabling_does_not_begin_it() -> None:
    watched = Watched(None)
    watched.pool.metrics_only("a")
    watched.pool.enable_breaker("a")
    assert watched.state() == "disabled"
    watched.fail(50)
    assert watched.state() == "disabled"


def test_an_unknown_endpoint_is_a_config_error() -> None:
    pool = Watched().pool
    acts: list[Callable[[str], object]] = [pool.metrics_only, pool.enable_breaker, pool.disable_breaker]
    for act in acts:
        with pytest.raises(ConfigError, match="no endpoint 'c' in the pool: expected one of a, b"):
            act("c")


def test_a_breaker_of_a_pool_bears_its_endpoints_name() -> None:
    watched = Watched()
    watched.fail(2)
    member = watched.pool.get("a")
    assert member is not None
    assert repr(member.breaker).startswith("<CircuitBreaker a open, 2 failures in a row, probes in ")
    change = next(e for e in watched.told if isinstance(e, BreakerChanged))
    assert change == BreakerChanged(1000.0, "a", "open", "closed", "2 failures in a row")


def test_a_pool_may_count_calls_instead_of_seconds() -> None:
    watched = Watched(BreakerPolicy(window_calls=6, consecutive_failures=None))
    for n in range(30):
        outcome = Outcome.failed("refused") if n % 3 == 0 else Outcome.ok(seconds=0.1)
        watched.pool.acquire(exclude=("b",)).settle(outcome)
        watched.clock.advance(3600.0)
    assert watched.state() == "closed"
    watched.fail(2)
    assert watched.state() == "open"
