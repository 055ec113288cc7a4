"""Whole calls in virtual time: tries, waits, hangs, 429s, queues, conversations, and clear errors."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from langchain_cluster import ConfigError, Endpoint, Policy, Request
from langchain_cluster.model.endpoint import Capacity
from langchain_cluster.model.events import EndpointEjected
from langchain_cluster.model.policy import OutlierPolicy
from langchain_cluster.testing import (
    ClosedLoop,
    Failing,
    Fixed,
    Hanging,
    LogNormal,
    Poisson,
    Sessions,
    Slowing,
    Throttling,
    simulate,
)

TEN = [Endpoint(f"e{n}") for n in range(10)]
TWO = [Endpoint("a"), Endpoint("b")]


def test_a_failed_try_goes_on_elsewhere_and_counts_as_one_call() -> None:
    result = simulate(
        TWO,
        balancer="round_robin",
        failing=[Failing("a", 0.05)],
        service=Fixed(0.1),
        arrivals=ClosedLoop(1),
        calls=100,
        policy=Policy(retry_budget=None),
        breaker=None,
    )
    assert len(result.latencies) == 100
    assert (result.lost, result.refused) == (0, 0)
    assert result.retried == {"a": result.failed["a"]}
    assert result.quantile(1.0) == pytest.approx(0.15)  # the failure, and the answer
    assert result.quantile(1.0, "b") == pytest.approx(0.1)
    assert sum(tried.again for tried in result.attempts) == result.failed["a"] == 50


def test_the_retry_budget_is_the_clusters_own() -> None:
    calls: dict[str, Any] = {"arrivals": Poisson(100.0), "calls": 6_000, "breaker": None, "seed": 1}
    failing = [Failing(id, 0.01) for id in ("a", "b")]
    free = simulate(TWO, failing=failing, policy=Policy(retry_budget=None, timeout=None), **calls)
    bounded = simulate(TWO, failing=failing, policy=Policy(retry_budget=0.2, timeout=None), **calls)
    assert free.calls == 18_000
    assert bounded.calls <= 6_000 + 0.2 * 6_000 + 3 * 70 + 30
    assert bounded.lost == 6_000


def test_a_call_on_an_endpoint_that_hangs_gives_up_in_time_and_is_answered_elsewhere() -> None:
    result = simulate(
        TWO,
        failing=[Hanging("a", end=30.0)],
        arrivals=Poisson(5.0),
        calls=500,
        policy=Policy(attempt_timeout=2.0),
        seed=1,
    )
    assert len(result.latencies) == 500
    assert result.failed["a"] >= 1
    slow = [tried.seconds for tried in result.attempts if tried.endpoint == "a" and tried.verdict != "ok"]
    assert slow == pytest.approx([2.0] * len(slow))
    assert result.served["a"] > 50  # after it was well again


def test_calls_that_grow_old_eject_an_endpoint_that_hangs() -> None:
    result = simulate(
        TEN,
        failing=[Hanging("e0", start=20.0)],
        arrivals=Poisson(50.0),
        calls=5_000,
        policy=Policy(attempt_timeout=60.0),
        outlier=OutlierPolicy(),
        breaker=None,
        seed=1,
    )
    first = next(event for event in result.events if isinstance(event, EndpointEjected))
    assert first.endpoint == "e0"
    assert first.at < 60.0  # sooner than the first call gives up
    assert result.share("e0", 30.0) < 0.01


def test_a_429_cools_down_is_not_a_failure_and_is_waited_for_when_nobody_else_is_there() -> None:
    throttled = [Throttling("a", rate=2.0, retry_after=3.0)]
    beside = simulate(TWO, failing=throttled, arrivals=Poisson(20.0), calls=1_000, policy=Policy(), seed=1)
    assert len(beside.latencies) == 1_000
    assert beside.throttled["a"] > 5
    assert beside.failed == {}
    assert beside.share("a") < 0.2
    alone = simulate(
        [Endpoint("a")],
        failing=[Throttling("a", rate=1.0, retry_after=1.5)],
        arrivals=Poisson(0.4),
        calls=100,
        policy=Policy(attempts=10),
        seed=1,
    )
    assert (len(alone.latencies), alone.refused) == (100, 0)
    assert alone.throttled["a"] > 0
    assert alone.quantile(1.0) > 1.5


def test_an_endpoint_that_turns_slow_gets_less() -> None:
    result = simulate(
        TEN, failing=[Slowing("e0", 10.0, start=30.0)], arrivals=Poisson(200.0), calls=12_000, seed=1
    )
    assert result.share("e0", 0.0, 30.0) > 0.07
    assert result.share("e0", 30.0) < 0.03


def test_slots_make_calls_wait_inside_the_endpoint() -> None:
    calls: dict[str, Any] = {"service": Fixed(1.0), "arrivals": ClosedLoop(4), "calls": 40}
    assert simulate([Endpoint("a")], slots={"a": 1}, **calls).seconds == pytest.approx(40.0)
    assert simulate([Endpoint("a")], slots={"a": 4}, **calls).seconds == pytest.approx(10.0)
    assert simulate([Endpoint("a")], **calls).seconds == pytest.approx(10.0)


def test_a_full_pool_is_waited_for() -> None:
    one = [Endpoint("a", capacity=Capacity(max_connections=1))]
    result = simulate(one, service=Fixed(1.0), arrivals=ClosedLoop(4), calls=40)
    assert (len(result.latencies), result.refused) == (40, 0)
    assert result.seconds == pytest.approx(40.0)
    impatient = simulate(
        one, service=Fixed(1.0), arrivals=ClosedLoop(4), calls=40, policy=Policy(timeout=2.5)
    )
    assert impatient.lost > 0
    assert len(impatient.latencies) + impatient.lost == 40


@pytest.mark.parametrize("balancer", ["consistent_hash", "prefix_affinity"])
def test_conversations_that_stay_in_place_are_remembered(balancer: str) -> None:
    sessions = Sessions(2_000, skew=0.9, remembered=100, saves=0.6)
    calls: dict[str, Any] = {"arrivals": Poisson(30.0), "calls": 8_000, "sessions": sessions, "seed": 1}
    calls["service"] = LogNormal(1.0, 0.3)
    spread, kept = simulate(TEN, balancer="peak_ewma", **calls), simulate(TEN, balancer=balancer, **calls)
    assert kept.hit_ratio > 1.4 * spread.hit_ratio
    assert kept.quantile(0.5) < 0.9 * spread.quantile(0.5)


def test_a_few_conversations_have_most_of_the_calls() -> None:
    seen: dict[str, int] = {}

    def counting(number: int, rng: Any) -> Request:
        drawn = Sessions(1_000, skew=1.0).draw(rng)
        seen[str(drawn.key)] = seen.get(str(drawn.key), 0) + 1
        return drawn

    result = simulate(TEN, request=counting, calls=4_000)
    assert seen["session-1"] == max(seen.values()) > 400
    assert isnan(result.hit_ratio)


def test_series_follow_the_share_over_time() -> None:
    changes = [(10.0, lambda pool: pool.drain("e0"))]
    result = simulate(TEN, arrivals=Poisson(100.0), calls=2_000, changes=changes, seed=1)
    series = result.series(["e0"], 5.0)
    assert [at for at, _ in series][:4] == [2.5, 7.5, 12.5, 17.5]
    assert series[0][1] > 0.05
    assert series[2][1] == series[3][1] == 0.0


def test_it_is_told_how_far_it_is() -> None:
    told: list[int] = []
    simulate(TEN, calls=600, progress=told.append)
    assert told == [250, 500, 600]


def test_tries_and_waits_are_the_same_again_for_the_same_seed() -> None:
    def run() -> list[float]:
        failing = [Failing(e.id, 0.01, probability=0.6) for e in TWO]
        policy = Policy(retry_budget=None)
        return simulate(TWO, failing=failing, calls=500, policy=policy, breaker=None, seed=4).latencies

    assert run() == run()
    assert max(run()) > 0.2  # both failed, and the same place was asked again after a wait


def test_a_result_tells_its_state() -> None:
    assert repr(simulate(TEN, calls=10, arrivals=ClosedLoop(1))) == (
        "<Simulation 10 answered, 0 lost, 0 refused in 1.0 s>"
    )


BAD: list[tuple[str, Any]] = [
    (r"calls: 0 is not an integer >= 1", lambda: simulate(TEN, calls=0)),
    (r"Poisson.rate: 0 is not a finite number > 0", lambda: Poisson(0)),
    (r"ClosedLoop.callers: 1.5 is not an integer >= 1", lambda: ClosedLoop(1.5)),  # type: ignore[arg-type]
    (r"arrivals: 5 is neither", lambda: simulate(TEN, arrivals=5)),  # type: ignore[arg-type]
    (r"Failing.probability: 2 is not a number from 0 to 1", lambda: Failing("a", probability=2)),
    (r"Failing.end: it ends at 1 s and starts at 2 s", lambda: Failing("a", start=2.0, end=1.0)),
    (r"Throttling.rate: -1", lambda: Throttling("a", rate=-1)),
    (r"Slowing.factor: 0 ", lambda: Slowing("a", 0)),
    (r"Sessions.remembered: -1 is not an integer >= 0", lambda: Sessions(5, remembered=-1)),
    (r"Sessions.saves: 1.5 is not a number from 0 to 1", lambda: Sessions(5, saves=1.5)),
    (r"slots.e0: 0 is not", lambda: simulate(TEN, slots={"e0": 0})),
    (r"changes: -1.0 is not a number >= 0", lambda: simulate(TEN, changes=[(-1.0, print)])),
    (r"policy: a call on an endpoint that hangs", lambda: simulate(TEN, failing=[Hanging("e0")])),
    (r"no endpoint 'e10'", lambda: simulate(TEN, slots={"e10": 1})),
    (
        r"no endpoint 'new'",
        lambda: simulate(TEN, failing=[Failing("new")], calls=5, changes=[(1.0, lambda pool: None)]),
    ),
    (
        r"sessions: give either",
        lambda: simulate(TEN, sessions=Sessions(1), request=lambda number, rng: Request()),
    ),
]


@pytest.mark.parametrize(("message", "act"), BAD, ids=[message for message, _ in BAD])
def test_what_cannot_be_simulated_is_a_clear_error(message: str, act: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        act()
