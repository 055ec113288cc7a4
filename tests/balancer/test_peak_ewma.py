"""Peak EWMA: soonest expected answer, one probe for the unknown, and no reward for failing fast."""

from __future__ import annotations

from math import exp, inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import PeakEwma
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Outcome
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import PLAIN, picks, standins


def test_the_cost_is_the_latency_times_the_calls_ahead_for_the_weight() -> None:
    (member,) = standins(1, ewma_seconds=[2.0], in_flight=[3], weight=[4.0])
    assert PeakEwma().cost(member, 0.0) == 2.0 * 4 / 4


def test_the_latency_fades_while_nobody_asks() -> None:
    (member,) = standins(1, ewma_seconds=[2.0], ewma_at=[100.0])
    assert PeakEwma(decay=10.0).cost(member, 110.0) == pytest.approx(2.0 * exp(-1))
    assert PeakEwma(decay=5.0).cost(member, 110.0) == pytest.approx(2.0 * exp(-2))
    assert member.ewma_seconds == 2.0  # read, not written


def test_a_clock_that_went_back_does_not_make_anybody_dearer() -> None:
    (member,) = standins(1, ewma_seconds=[2.0], ewma_at=[100.0])
    assert PeakEwma().cost(member, 50.0) == 2.0


def test_the_faster_gets_the_call() -> None:
    assert picks(PeakEwma(), standins(2, ewma_seconds=[0.5, 0.4]), 100) == {"e1": 100}


def test_the_faster_gets_it_even_when_it_is_busier_as_long_as_it_will_be_sooner() -> None:
    assert picks(PeakEwma(), standins(2, ewma_seconds=[1.0, 0.1], in_flight=[0, 8]), 100) == {"e1": 100}
    assert picks(PeakEwma(), standins(2, ewma_seconds=[1.0, 0.1], in_flight=[0, 10]), 100) == {"e0": 100}


def test_an_endpoint_without_history_is_free_once_and_then_infinitely_dear() -> None:
    unknown, waiting = standins(2, in_flight=[0, 1])
    assert PeakEwma().cost(unknown, 0.0) == 0.0
    assert PeakEwma().cost(waiting, 0.0) == inf


def test_an_endpoint_without_history_gets_exactly_one_probe_until_it_answers() -> None:
    clock = FakeClock()
    pool = Pool([Endpoint("old"), Endpoint("new")], balancer="peak_ewma", clock=clock, seed=3)
    first, second = pool.acquire(), pool.acquire()
    probe, other = (first, second) if first.endpoint.id == "new" else (second, first)
    assert (probe.endpoint.id, other.endpoint.id) == ("new", "old")
    other.settle(Outcome.ok(seconds=1.0))
    assert {pool.acquire().endpoint.id for _ in range(100)} == {"old"}
    probe.settle(Outcome.ok(seconds=0.1))
    assert pool.acquire().endpoint.id == "new"


def test_when_all_are_unknown_each_gets_its_probe() -> None:
    pool = Pool([Endpoint(f"e{i}") for i in range(3)], balancer="peak_ewma", clock=FakeClock(), seed=1)
    assert {pool.acquire().endpoint.id for _ in range(3)} == {"e0", "e1", "e2"}
    assert pool.acquire() is not None  # all infinitely dear: still somebody


def test_a_slow_answer_is_known_at_once_and_forgiven_slowly() -> None:
    clock = FakeClock()
    pool = Pool([Endpoint("a")], clock=clock, seed=1)
    member = pool.snapshot.members[0]

    def answer(seconds: float) -> None:
        lease = pool.acquire()
        clock.advance(seconds)
        lease.settle(Outcome.ok(seconds=seconds))

    answer(0.1)
    assert member.ewma_seconds == 0.1
    answer(5.0)
    assert member.ewma_seconds == 5.0
    answer(0.1)
    assert 4.9 < member.ewma_seconds < 5.0
    clock.advance(10.0 - 0.1)
    answer(0.1)
    assert 4.9 * exp(-1) < member.ewma_seconds < 5.0 * exp(-1) + 0.1


def test_the_time_to_the_first_token_counts_where_there_is_one() -> None:
    pool = Pool([Endpoint("a")], clock=FakeClock(), seed=1)
    pool.acquire().settle(Outcome.ok(seconds=30.0, first_token_seconds=0.2))
    assert pool.snapshot.members[0].ewma_seconds == 0.2


def drive(service: Any, *, calls: int, breaker: BreakerPolicy | None) -> dict[str, int]:
    """One call at a time, over four endpoints."""
    clock = FakeClock()
    endpoints = [Endpoint(id) for id in "abcd"]
    pool = Pool(endpoints, balancer="peak_ewma", breaker=breaker, clock=clock, seed=11)
    for _ in range(calls):
        lease = pool.acquire()
        outcome = service(lease.endpoint.id)
        clock.advance(outcome.seconds)
        lease.settle(outcome)
    return {m.endpoint.id: m.served + m.failed for m in pool}


def test_failing_fast_does_not_attract() -> None:
    """Ten times faster than the others, because it fails."""

    def service(id: str) -> Outcome:
        return Outcome.failed(seconds=0.02) if id == "a" else Outcome.ok(seconds=0.2)

    got = drive(service, calls=2000, breaker=None)
    assert got["a"] / 2000 < 0.05
    got = drive(service, calls=2000, breaker=BreakerPolicy())
    assert got["a"] / 2000 < 0.03


def test_a_decay_is_a_number_of_seconds() -> None:
    for bad in (0, -1.0, float("nan"), "10", None, True):
        with pytest.raises(ConfigError, match="is not a number of seconds > 0") as caught:
            PeakEwma(decay=bad)  # type: ignore[arg-type]
        assert caught.value.key == "balancer.decay"


def test_its_name_and_its_repr() -> None:
    assert PeakEwma.name == "peak_ewma"
    assert repr(PeakEwma()) == "PeakEwma(decay=10)"


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(0, 50), st.floats(0.1, 10), st.floats(-50, 50)),
        min_size=1,
        max_size=12,
    ),
    st.integers(),
)
def test_it_never_takes_the_dearest_when_somebody_is_cheaper(
    facts: list[tuple[float, int, float, float]], seed: int
) -> None:
    ewma, in_flight, weight, at = ([fact[i] for fact in facts] for i in range(4))
    balancer = PeakEwma()
    candidates = standins(len(facts), ewma_seconds=ewma, in_flight=in_flight, weight=weight, ewma_at=at)
    picked = balancer.pick(candidates, PLAIN, 0.0, Random(seed))
    costs = sorted(balancer.cost(c, 0.0) for c in candidates)
    assert picked in candidates
    if len(candidates) <= 3:
        assert balancer.cost(picked, 0.0) == costs[0]
    elif costs[-1] > costs[-2]:
        assert balancer.cost(picked, 0.0) < costs[-1]
