"""Clocks that jump: ahead ends what is due, and back makes nothing last longer than it may last at all."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import (
    Capacity,
    ClusteredLLM,
    ConcurrencyPolicy,
    Endpoint,
    NoEndpointAvailable,
    Outcome,
    OutlierPolicy,
    Overloaded,
    Policy,
    SlowStartPolicy,
    ThrottlePolicy,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import EndpointCooling
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import Face, Heard, at_rest, text_of

DAY, YEAR = 86_400.0, 31_536_000.0
LONGEST = 300.0  # seconds: of a rest, a break and an ejection, by default


def fine(id: str, **more: Any) -> Endpoint:
    return Endpoint(id, ScriptedModel("fine"), **more)


def made(
    *endpoints: Endpoint, timeout: float | None = 10.0, **options: Any
) -> tuple[ClusteredLLM, FakeClock]:
    clock = FakeClock(1e6, auto=True)
    policy = Policy(timeout=timeout, attempts=1)
    return ClusteredLLM(endpoints or [fine("a")], clock=clock, policy=policy, seed=1, **options), clock


def retry_after(error: pytest.ExceptionInfo[Any]) -> float:
    seconds = error.value.retry_after
    assert isinstance(seconds, float)
    return seconds


@pytest.mark.parametrize("what", ["cooling", "open", "full"])
def test_back_a_day_nobody_is_kept_waiting_for_a_day(face: Face, what: str) -> None:
    llm, clock = made(fine("a", capacity=Capacity(max_rpm=1)))
    pool = llm.cluster.pool
    if what == "cooling":
        pool.acquire().settle(Outcome.throttled(retry_after=30.0))
    elif what == "open":
        lease = pool.acquire()
        lease.settle(Outcome.misconfigured("no such model"))
    else:
        pool.acquire().settle(Outcome.ok(seconds=0.1))
    clock.advance(-DAY)
    for _ in range(2):
        with pytest.raises((NoEndpointAvailable, Overloaded)) as caught:
            face.ask(llm, "hello")
        assert 0.0 < retry_after(caught) <= LONGEST
    clock.advance(retry_after(caught))
    assert text_of(face.ask(llm, "hello")) == "fine"
    assert at_rest(llm)


@pytest.mark.parametrize("what", ["cooling", "open", "full"])
def test_ahead_a_year_everything_that_is_due_is_over(face: Face, what: str) -> None:
    llm, clock = made(fine("a", capacity=Capacity(max_rpm=1)))
    outcomes = {"cooling": Outcome.throttled(30.0), "open": Outcome.misconfigured("no"), "full": Outcome.ok()}
    llm.cluster.pool.acquire().settle(outcomes[what])
    clock.advance(YEAR)
    assert text_of(face.ask(llm, "hello")) == "fine"
    assert at_rest(llm)


def test_back_a_day_an_ejected_endpoint_is_back_in_time(face: Face) -> None:
    llm, clock = made(fine("a"), fine("b"), outlier=OutlierPolicy(), breaker=None, balancer="round_robin")
    for _ in range(5):
        llm.cluster.pool.acquire(exclude="b").settle(Outcome.failed("down"))
    clock.advance(-DAY)
    assert text_of(face.ask(llm, "hello")) == "fine"
    member = llm.cluster.pool.get("a")
    assert member is not None
    assert clock.now() < member.ejected_until <= clock.now() + LONGEST
    clock.advance(LONGEST)
    for number in range(4):
        face.ask(llm, f"hello {number}")
    assert member.served == 2
    for _ in range(5):
        llm.cluster.pool.acquire(exclude="b").settle(Outcome.failed("down"))
    assert member.ejected_until > clock.now(), "and may be ejected again"


@pytest.mark.parametrize("jump", [-DAY, -0.5, YEAR])
def test_whichever_guards_are_there_calls_go_on(face: Face, jump: float) -> None:
    llm, clock = made(
        fine("a"),
        fine("b"),
        throttle=ThrottlePolicy(),
        slow_start=SlowStartPolicy(),
        concurrency=ConcurrencyPolicy(),
        outlier=OutlierPolicy(),
        cache=MemoryCache(),
        balancer="peak_ewma",
    )
    for round in range(3):
        for number in range(5):
            assert text_of(face.ask(llm, f"{round} {number}")) == "fine"
        clock.advance(jump)
    assert at_rest(llm)
    assert all(member.ewma_seconds >= 0.0 for member in llm.cluster.pool)


def test_back_a_day_an_endpoint_warms_up_from_there(face: Face) -> None:
    llm, clock = made(fine("a"), fine("b"), slow_start=SlowStartPolicy(window=30.0))
    llm.cluster.pool.add(fine("c"))
    clock.advance(-DAY)
    face.ask(llm, "hello")
    clock.advance(30.0)
    face.ask(llm, "hello again")
    member = llm.cluster.pool.get("c")
    assert member is not None
    assert (member.warming_since, member.weight) == (None, 1.0)


def test_back_a_day_a_limit_that_is_found_out_still_falls() -> None:
    llm, clock = made(concurrency=ConcurrencyPolicy(initial=20))
    pool = llm.cluster.pool
    pool.acquire().settle(Outcome.failed("busy", status=503))
    (member,) = pool
    before = member.limit
    clock.advance(-DAY)
    pool.acquire().settle(Outcome.failed("busy", status=503))
    assert member.limit < before


def test_a_retry_after_of_a_year_is_five_minutes_and_told(face: Face) -> None:
    llm, clock = made()
    heard = Heard(llm)
    llm.cluster.pool.acquire().settle(Outcome.throttled(retry_after=YEAR))
    assert [(e.seconds, e.asked) for e in heard.of(EndpointCooling)] == [(LONGEST, YEAR)]
    with pytest.raises(NoEndpointAvailable) as caught:
        face.ask(llm, "hello")
    assert retry_after(caught) == LONGEST
    clock.advance(LONGEST)
    assert text_of(face.ask(llm, "hello")) == "fine"
