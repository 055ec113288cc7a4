"""How many calls at once an endpoint bears: found, kept to, and let go of when it bears less."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from langchain_cluster import Capacity, ConcurrencyPolicy, ConfigError, Endpoint, Outcome, Pool
from langchain_cluster.guard.aimd import TOGETHER, Aimd, overloaded
from langchain_cluster.testing import FakeClock

NOW = 1000.0


class APITimeoutError(Exception):
    """As the providers' libraries have it."""


@pytest.mark.parametrize(
    ("outcome", "too_much"),
    [
        (Outcome.throttled(1.0), True),
        (Outcome.failed("unavailable", status=503), True),
        (Outcome.failed(TimeoutError("no answer")), True),
        (Outcome.failed(APITimeoutError("no answer")), True),
        (Outcome.failed("broken", status=500), False),
        (Outcome.failed(ConnectionError("refused")), False),
        (Outcome.rejected("no"), False),
        (Outcome.ok(), False),
    ],
)
def test_refusals_and_timeouts_say_that_too_much_was_asked(outcome: Outcome, too_much: bool) -> None:
    assert overloaded(outcome) is too_much
    aimd = Aimd(ConcurrencyPolicy(initial=20), NOW)
    aimd.ended(outcome, started=NOW, in_flight=1, now=NOW + 1.0)
    assert aimd.limit == (18.0 if too_much else 20.0)


def test_calls_that_were_under_way_together_lower_it_once() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=20), NOW)
    for number in range(20):
        aimd.ended(Outcome.throttled(), started=NOW, in_flight=20 - number, now=NOW + 1.0)
    assert aimd.limit == 18.0
    aimd.ended(Outcome.throttled(), started=NOW + 1.0, in_flight=1, now=NOW + 2.0)
    assert aimd.limit == pytest.approx(16.2)
    assert repr(aimd) == "<Aimd at 16.2 calls at once>"


def test_it_never_falls_below_its_least() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=2), NOW)
    for number in range(100):
        aimd.ended(Outcome.throttled(), started=NOW + number, in_flight=1, now=NOW + number)
    assert aimd.limit == 1.0


def test_it_grows_by_one_a_round_and_only_while_it_is_used() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=20, most=19 + 8), NOW)
    for _ in range(1000):
        aimd.ended(Outcome.ok(), started=NOW, in_flight=17, now=NOW)
    assert aimd.limit == 20.0
    aimd.ended(Outcome.throttled(), started=NOW, in_flight=1, now=NOW)
    assert aimd.limit == 18.0
    for _ in range(18):
        aimd.ended(Outcome.ok(), started=NOW, in_flight=18, now=NOW)
    assert 18.9 < aimd.limit < 19.0
    for _ in range(1000):
        aimd.ended(Outcome.ok(), started=NOW, in_flight=27, now=NOW)
    assert aimd.limit == 27.0


def test_until_something_speaks_against_it_the_limit_doubles_with_each_round() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=4), NOW)
    for limit in (8.0, 16.0, 32.0):
        for _ in range(int(aimd.limit)):
            aimd.ended(Outcome.ok(), started=NOW, in_flight=int(aimd.limit), now=NOW)
        assert aimd.limit == limit


def test_twice_a_window_the_load_is_made_light_to_see_how_it_is_then() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=20, window=100.0), NOW)

    def answers(started: float, now: float, times: int = TOGETHER) -> float:
        for _ in range(times):
            outcome = Outcome.ok(first_token_seconds=0.1)
            aimd.ended(outcome, started=started, in_flight=int(aimd.limit), now=now)
        return aimd.limit

    assert answers(NOW, NOW + 50.0) == pytest.approx(0.25 * 39)  # 19 answers have each added one before
    assert answers(NOW, NOW + 51.0) == pytest.approx(0.25 * 39)  # these began before
    low = answers(NOW + 50.0, NOW + 52.0)
    assert low == pytest.approx(0.25 * 39 + 1)  # the last of them lets it grow
    assert answers(NOW + 50.0, NOW + 53.0, times=5) == low + 5  # at once to where it was


def test_slow_first_tokens_lower_it_and_one_slow_one_does_not() -> None:
    aimd = Aimd(ConcurrencyPolicy(initial=20), NOW)

    def answers(seconds: float, times: int = TOGETHER, now: float = NOW) -> float:
        for _ in range(times):
            outcome = Outcome.ok(seconds=9.0, first_token_seconds=seconds)
            aimd.ended(outcome, started=now, in_flight=1, now=now)
        return aimd.limit

    assert answers(0.1) == 20.0
    assert answers(0.4, times=1) == 20.0
    assert answers(0.1, times=TOGETHER - 1) == 20.0
    assert answers(0.2) == 18.0
    assert answers(float("nan")) == 18.0


def test_what_has_become_slower_for_good_is_no_longer_slow_after_the_window() -> None:
    aimd, lowered = Aimd(ConcurrencyPolicy(initial=20), NOW), []
    for number in range(1000):
        now = NOW + number * 1.0
        before = aimd.limit
        seconds = 0.1 if number < 100 else 0.2
        outcome = Outcome.ok(seconds=9.0, first_token_seconds=seconds)
        aimd.ended(outcome, started=now, in_flight=1, now=now)
        if aimd.limit < before:
            lowered.append((number, aimd.limit / before))
    tenths = [number for number, factor in lowered if factor > 0.5]
    assert tenths
    assert max(tenths) < 450


def knee(seed: int, *, bears: int, calls: int = 40_000, clients: int = 200) -> float:
    """The mean limit over the second half, where latency is flat up to `bears` calls at once."""
    rng, aimd, now = Random(seed), Aimd(ConcurrencyPolicy(), NOW), NOW
    under_way: list[tuple[float, float, float]] = []
    limits = []
    for number in range(calls):
        while len(under_way) < min(clients, int(aimd.limit)):
            seconds = 0.5 * max(1.0, (len(under_way) + 1) / bears) * rng.lognormvariate(0.0, 0.3)
            heapq.heappush(under_way, (now + seconds, now, seconds))
        in_flight = len(under_way)
        now, started, seconds = heapq.heappop(under_way)
        outcome = Outcome.ok(seconds=seconds, first_token_seconds=seconds)
        aimd.ended(outcome, started=started, in_flight=in_flight, now=now)
        if number > calls / 2:
            limits.append(aimd.limit)
    return sum(limits) / len(limits)


@pytest.mark.parametrize("bears", [10, 50])
def test_it_settles_near_what_the_endpoint_bears_and_does_not_drift(bears: int) -> None:
    assert 0.8 * bears < knee(1, bears=bears) < 1.7 * bears


def test_a_pools_endpoints_are_limited_by_what_is_found_and_by_what_is_given() -> None:
    clock = FakeClock()
    pool = Pool(
        [Endpoint("a"), Endpoint("b", capacity=Capacity(max_connections=5))],
        concurrency=ConcurrencyPolicy(initial=10),
        clock=clock,
    )
    a, b = pool
    assert (a.limit, b.limit) == (10, 5)
    pool.acquire(exclude="b").settle(Outcome.throttled(0.0))
    assert (a.limit, a.limits(clock.now())) == (9, {"connections": 9})
    for _ in range(8):
        clock.advance(1.0)
        pool.acquire(exclude="a").settle(Outcome.throttled(0.0))
    assert b.limit == 4
    pool.replace([Endpoint("a", weight=2.0), b.endpoint])
    assert a.limit == 9  # what was found stays


def test_while_an_endpoint_warms_up_its_part_of_the_limit_stays() -> None:
    clock = FakeClock()
    pool = Pool(
        [Endpoint(id) for id in "abc"],
        concurrency=ConcurrencyPolicy(initial=20),
        slow_start=30.0,
        clock=clock,
    )
    pool.add(Endpoint("new"))
    member = pool.get("new")
    assert member is not None
    assert member.limit == 2
    pool.acquire(exclude=("a", "b", "c")).settle(Outcome.throttled(0.0))
    assert member.limit == 2
    assert member.aimd is not None
    assert member.aimd.limit == 18.0


def test_bounds_that_cross_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="initial 4 is not between least 1 and most 3"):
        ConcurrencyPolicy(most=3)
