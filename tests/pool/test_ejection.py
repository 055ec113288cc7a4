"""Ejection, warming up, levels and panic, through the pool and in virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from langchain_cluster import (
    Capacity,
    ConfigError,
    Endpoint,
    EndpointStatus,
    NoEndpointAvailable,
    Outcome,
    OutlierPolicy,
    Pool,
    Request,
    SlowStartPolicy,
)
from langchain_cluster.model.events import EndpointEjected
from langchain_cluster.pool.levels import panics, shares
from langchain_cluster.pool.slow_start import factor
from langchain_cluster.testing import ClosedLoop, Failing, FakeClock, Fixed, Poisson, simulate
from tests.pool.watched import Watched

TEN = [Endpoint(f"e{n}") for n in range(10)]


def pool_of(*endpoints: Endpoint, **options: Any) -> tuple[Pool, FakeClock, list[Any]]:
    clock, events = FakeClock(start=0.0), []
    options = {"balancer": "round_robin", "breaker": None, **options}
    pool = Pool(endpoints, clock=clock, seed=1, emit=events.append, **options)
    return pool, clock, events


def fail(pool: Pool, id: str, times: int) -> None:
    others = [m.endpoint.id for m in pool if m.endpoint.id != id]
    for _ in range(times):
        pool.acquire(exclude=others).settle(Outcome.failed("down", seconds=0.01))


def picked(pool: Pool, calls: int = 200) -> Counter[str]:
    counts: Counter[str] = Counter()
    for _ in range(calls):
        with pool.acquire() as lease:
            counts[lease.endpoint.id] += 1
    return counts


# -- ejection -------------------------------------------------------------------------------------------


def test_an_ejected_endpoint_gets_nothing_and_comes_back_by_itself() -> None:
    pool, clock, events = pool_of(*TEN, outlier=OutlierPolicy())
    fail(pool, "e3", 5)
    (ejected,) = [event for event in events if isinstance(event, EndpointEjected)]
    assert (ejected.endpoint, ejected.reason) == ("e3", "5 failures in a row")
    assert pool.snapshot.by_id["e3"].ejected_until == pytest.approx(30.0, rel=0.1)
    assert "e3" not in picked(pool)
    clock.advance(34.0)
    assert picked(pool)["e3"] == 20


def test_a_pool_that_is_not_asked_to_ejects_nobody() -> None:
    pool, _, events = pool_of(*TEN)
    fail(pool, "e3", 50)
    assert not [event for event in events if isinstance(event, EndpointEjected)]


def test_throttled_and_misasked_calls_are_no_sign() -> None:
    pool, clock, events = pool_of(*TEN, outlier=OutlierPolicy())
    others = [f"e{n}" for n in range(1, 10)]
    for _ in range(20):
        pool.acquire(exclude=others).settle(Outcome.throttled(0.0))
        pool.acquire(exclude=others).settle(Outcome.rejected("bad prompt"))
        clock.advance(0.1)
    assert not [event for event in events if isinstance(event, EndpointEjected)]


def test_the_last_endpoint_stays() -> None:
    pool, _, _ = pool_of(Endpoint("a"), Endpoint("b"), outlier=OutlierPolicy(max_percent=100))
    fail(pool, "a", 5)
    fail(pool, "b", 50)
    assert picked(pool) == {"b": 200}


def test_reset_forgives_an_ejection() -> None:
    pool, _, _ = pool_of(*TEN, outlier=OutlierPolicy())
    fail(pool, "e3", 5)
    pool.reset("e3")
    assert picked(pool)["e3"] == 20


def test_who_left_and_came_back_is_not_held_to_its_past() -> None:
    pool, _, events = pool_of(*TEN, outlier=OutlierPolicy())
    fail(pool, "e3", 4)
    pool.remove("e3")
    pool.add(Endpoint("e3"))
    fail(pool, "e3", 4)
    assert not [event for event in events if isinstance(event, EndpointEjected)]


@pytest.mark.parametrize("balancer", ["round_robin", "power_of_two", "peak_ewma", "least_connections"])
def test_a_black_hole_draws_at_most_one_percent(balancer: str) -> None:
    result = simulate(
        TEN,
        balancer=balancer,
        failing=[Failing("e0", seconds=0.001)],
        arrivals=ClosedLoop(50),
        calls=10_000,
        seed=2,
        breaker=None,
        outlier=OutlierPolicy(),
    )
    assert result.share("e0") <= 0.01


def test_a_hanging_endpoint_is_known_before_its_first_timeout() -> None:
    result = simulate(
        TEN,
        balancer="round_robin",
        service={"e0": Fixed(600.0)},
        arrivals=Poisson(100.0),
        calls=3_000,
        seed=1,
        outlier=OutlierPolicy(),
    )
    first = next(event for event in result.events if isinstance(event, EndpointEjected))
    assert first.endpoint == "e0"
    assert first.at < 5.0
    assert "calls in flight" in first.reason


def test_slow_answers_are_not_taken_for_hanging() -> None:
    result = simulate(
        TEN,
        balancer="round_robin",
        service={endpoint.id: Fixed(20.0) for endpoint in TEN},
        arrivals=Poisson(5.0),
        calls=1_000,
        seed=1,
        outlier=OutlierPolicy(),
    )
    assert not [event for event in result.events if isinstance(event, EndpointEjected)]


# -- warming up -----------------------------------------------------------------------------------------


def test_a_newcomer_begins_with_a_tenth_and_grows() -> None:
    policy = SlowStartPolicy(window=30.0, floor=0.1)
    assert [factor(policy, 100.0, at) for at in (90.0, 100.0, 102.0, 115.0, 130.0, 500.0)] == [
        0.1,
        0.1,
        0.1,
        0.5,
        1.0,
        1.0,
    ]


def test_its_weight_and_its_limit_grow_with_it() -> None:
    pool, clock, _ = pool_of(Endpoint("a"), Endpoint("b"), slow_start=10.0)
    pool.add(Endpoint("new", weight=2.0, capacity=Capacity(max_connections=10)))
    member = pool.snapshot.by_id["new"]
    seen = []
    for _ in range(4):
        seen.append((round(member.weight, 2), member.limit))
        clock.advance(4.0)
        picked(pool, 1)
    assert seen == [(0.2, 1), (0.8, 4), (1.6, 8), (2.0, 10)]
    assert member.warming_since is None


def test_nobody_warms_up_at_the_start_nor_where_most_are_new() -> None:
    pool, _, _ = pool_of(Endpoint("a"), Endpoint("b"), slow_start=10.0)
    pool.replace([Endpoint("a"), Endpoint("x"), Endpoint("y")])
    assert [m.weight for m in pool] == [1.0, 1.0, 1.0]


def test_a_slow_start_of_no_time_is_an_error() -> None:
    with pytest.raises(ConfigError, match="window"):
        pool_of(Endpoint("a"), slow_start=0)


# -- levels and panic -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(100, 100), (100, 100)], [1.0, 0.0]),
        ([(72, 100), (100, 100)], [1.0, 0.0]),
        ([(71, 100), (100, 100)], [0.994, 0.006]),
        ([(50, 100), (100, 100)], [0.7, 0.3]),
        ([(0, 100), (100, 100)], [0.0, 1.0]),
        ([(25, 100), (25, 100)], [0.5, 0.5]),
        ([(0, 10), (0, 10)], [0.0, 0.0]),
        ([], []),
    ],
)
def test_a_level_keeps_what_it_can_carry(counts: list[tuple[int, int]], expected: list[float]) -> None:
    parts, together = shares(counts)
    assert parts == pytest.approx(expected, abs=1e-9)
    assert 0.0 <= together <= 100.0


def test_panic_begins_below_half_and_only_when_all_levels_are_short() -> None:
    assert panics(4, 10, together=56.0)
    assert not panics(5, 10, together=70.0)
    assert not panics(1, 10, together=100.0)
    assert not panics(0, 0, together=0.0)


def two_levels(**options: Any) -> tuple[Pool, FakeClock, list[Any]]:
    first = [Endpoint(f"a{n}") for n in range(4)]
    second = [Endpoint(f"b{n}", priority=1) for n in range(4)]
    return pool_of(*first, *second, **options)


def test_the_second_level_gets_nothing_while_the_first_can_carry_the_load() -> None:
    pool, _, _ = two_levels()
    pool.mark("a0", healthy=False)
    assert sum(count for id, count in picked(pool).items() if id.startswith("b")) == 0


def test_the_second_level_gets_what_the_first_cannot_carry() -> None:
    pool, _, _ = two_levels()
    for id in ("a0", "a1"):
        pool.mark(id, healthy=False)
    counts = picked(pool, 2_000)
    spilled = sum(count for id, count in counts.items() if id.startswith("b"))
    assert spilled / 2_000 == pytest.approx(0.3, abs=0.05)


def test_in_panic_the_ejected_and_the_unhealthy_are_used_too() -> None:
    pool, _, _ = pool_of(*TEN)
    for n in range(6):
        pool.mark(f"e{n}", healthy=False)
    assert len(picked(pool)) == 10
    pool.mark("e0", healthy=True)
    assert len(picked(pool)) == 5


def test_panic_does_not_use_who_was_taken_out_on_purpose() -> None:
    pool, _, _ = pool_of(*TEN)
    for n in range(6):
        pool.mark(f"e{n}", healthy=False)
    pool.drain("e0")
    pool.set_status("e1", EndpointStatus.OFFLINE)
    pool.force_open("e2")
    assert not {"e0", "e1", "e2"} & set(picked(pool))


def test_all_checks_failing_counts_for_nothing() -> None:
    pool, _, _ = pool_of(*TEN)
    for endpoint in TEN:
        pool.mark(endpoint.id, healthy=False, reason="refused")
    assert len(picked(pool)) == 10


def test_an_unhealthy_endpoint_says_why_it_is_left_out() -> None:
    pool, _, _ = pool_of(Endpoint("a"), Endpoint("b"), Endpoint("c", weight=0))
    pool.mark("a", healthy=False)
    pool.drain("b")
    pool.set_status("c", EndpointStatus.ONLINE)
    with pytest.raises(NoEndpointAvailable) as nobody:
        pool.acquire(Request(), exclude=("a",))
    assert "health" in nobody.value.why["a"]


def test_a_group_that_did_not_change_is_the_same_tuple() -> None:
    pool, _, _ = two_levels()
    before = pool.snapshot
    pool.mark("b0", healthy=False)
    assert pool.snapshot is not before
    assert pool.snapshot.ready is before.ready


def test_a_group_whose_weights_changed_is_another_tuple() -> None:
    pool, _, _ = two_levels()
    before = pool.snapshot.ready
    pool.replace([Endpoint("a0", weight=3.0), *[m.endpoint for m in pool if m.endpoint.id != "a0"]])
    assert pool.snapshot.ready is not before


def test_an_answer_that_takes_long_is_not_hanging_because_embeddings_are_quick() -> None:
    watched = Watched(
        Endpoint("llm"), Endpoint("other"), Endpoint("emb", roles={"embedding"}), outlier=OutlierPolicy()
    )
    for _ in range(200):
        watched.lease_on("llm").settle(Outcome.ok(seconds=4.0))
        for _ in range(20):
            watched.lease_on("emb", role="embedding").settle(Outcome.ok(seconds=0.01))
    calls = [watched.lease_on("llm") for _ in range(20)]
    watched.clock.advance(15.0)
    watched.asked()
    assert "EndpointEjected" not in watched.told()
    for call in calls:
        call.settle(Outcome.ok(seconds=15.0))


def test_a_stream_that_has_begun_is_not_hanging_however_long_it_takes() -> None:
    watched = Watched("a", "b", "c", outlier=OutlierPolicy(consecutive_failures=5))
    watched.asked()
    streams = [watched.lease_on("a") for _ in range(9)]
    for lease in streams[:5]:
        lease.answering()
    watched.clock.advance(60.0)
    watched.asked()
    assert "EndpointEjected" not in watched.told()  # four wait for their first token
    watched.lease_on("b").settle(Outcome.ok(seconds=0.1))
    fifth = watched.lease_on("a")
    watched.clock.advance(60.0)
    watched.asked()
    assert "EndpointEjected" in watched.told()
    for lease in (*streams, fifth):
        lease.settle(Outcome.ok(seconds=120.0))
    assert not watched["a"].starts


def test_where_calls_take_long_everywhere_nobody_is_taken_for_hanging() -> None:
    watched = Watched("a", "b", "c", Endpoint("off", weight=0.0), outlier=OutlierPolicy())
    watched.asked()
    for id in "abc":
        watched.call(id, Outcome.ok(seconds=0.1))
    long = {id: [watched.lease_on(id) for _ in range(6)] for id in "abc"}
    watched.clock.advance(30.0)
    watched.asked()
    assert "EndpointEjected" not in watched.told()
    long["a"] += [watched.lease_on("a") for _ in range(7)]  # and now it hangs: more than twice as many
    watched.clock.advance(30.0)
    watched.asked()
    assert "EndpointEjected" in watched.told()
    assert [watched[id].ejected_until > 1060.0 for id in "abc"] == [True, False, False]
