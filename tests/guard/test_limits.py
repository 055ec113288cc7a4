"""Limits per minute: never more in any minute, nothing lost or taken twice, and a right answer to "when?"."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import inf
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster import Capacity, ConfigError, Endpoint, NoEndpointAvailable, Outcome, Pool, Quota, Role
from langchain_cluster.guard.expected import ANSWER
from langchain_cluster.guard.limits import MINUTE, RateLimits, Rates, RateWindow, Reservation, Span
from langchain_cluster.model.call import Request, Usage
from langchain_cluster.testing import FakeClock

NOW = 1000.0


def rates(rpm: int | None = None, tpm: int | None = None) -> Rates:
    found = RateLimits().of(Endpoint("a", capacity=Capacity(max_rpm=rpm, max_tpm=tpm)))
    assert found is not None
    return found


def reserved(rates: Rates, now: float = NOW, prompt: int = 0, answer: int | None = 0) -> Reservation:
    found = rates.reserve(Request(prompt_tokens=prompt, answer_tokens=answer), now)
    assert found is not None
    return found


PAUSES = st.one_of(st.floats(0.0, 20.0), st.floats(0.0, 0.2))
ENDS = st.sampled_from(["keep", "less", "more", "cancel"])
STEPS = st.lists(st.tuples(PAUSES, st.integers(1, 5), ENDS), max_size=120)


@given(st.integers(1, 12), STEPS)
def test_in_no_minute_is_more_taken_than_the_limit(limit: int, steps: list[tuple[float, int, str]]) -> None:
    window, now, taken = RateWindow(limit), NOW, []
    for pause, amount, _ in steps:
        now += pause
        amount = min(amount, limit)
        at = window.free_at(amount, now)
        assert at >= now
        if at > now:
            now = at  # when it is said to be free it is
            assert window.free_at(amount, now) == now
        window.take(amount, now)
        taken.append((now, amount))
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + MINUTE) <= limit


@given(st.integers(10, 100), STEPS)
def test_what_is_taken_is_what_is_outstanding_and_what_was_settled_within_the_minute(
    limit: int, steps: list[tuple[float, int, str]]
) -> None:
    limited, now = rates(tpm=limit), NOW
    (window,) = limited.tokens
    counted: list[list[float]] = []
    for pause, amount, end in steps:
        now += pause
        request = Request(prompt_tokens=amount, answer_tokens=amount)
        found = limited.reserve(request, now)
        if found is None:
            continue
        held = found.prompt + found.answer
        entry = [now, held]
        counted.append(entry)
        if end == "cancel":
            found.cancel()
            entry[1] = 0.0
        elif end != "keep":
            used = int(held // 2) if end == "less" else int(held) + 3
            found.settle(Outcome.ok(usage=Usage(used, 0)), now)
            entry[1] = float(used)
        assert window.used >= -1e-6
    window.left(now)  # forgets what is old
    at_least = sum(amount for at, amount in counted if at + MINUTE > now)
    at_most = sum(amount for at, amount in counted if at + MINUTE + 0.25 > now)
    assert at_least - 1e-6 <= window.used <= at_most + 1e-6


def test_what_was_taken_is_missing_for_exactly_a_minute() -> None:
    limited = rates(rpm=2)
    reserved(limited, NOW)
    reserved(limited, NOW + 10.0)
    assert limited.reserve(Request(), NOW + 59.9) is None
    assert limited.free_at(Request(), NOW + 59.9) == NOW + 60.0
    reserved(limited, NOW + 60.0)
    assert limited.free_at(Request(), NOW + 60.0) == NOW + 70.0


def test_the_memory_of_a_window_does_not_grow_with_its_limit() -> None:
    window = RateWindow(1_000_000)
    for number in range(100_000):
        window.take(1, NOW + number / 1000)
    assert len(window._spans) <= 242


def test_threads_that_come_with_their_times_out_of_order_are_counted_for_the_later() -> None:
    window = RateWindow(2)
    window.take(1, NOW + 0.1)
    window.take(1, NOW)
    assert window.free_at(1, NOW + 60.0) == NOW + 60.1


def test_what_is_kept_together_leaves_when_the_last_of_it_does() -> None:
    window = RateWindow(2)
    window.take(1, NOW)
    window.take(1, NOW + 0.2)
    assert window.free_at(1, NOW + 60.1) == NOW + 60.2


def test_looking_and_taking_is_one_step_under_one_lock() -> None:
    limited, held = rates(rpm=1, tpm=100), []

    class Watched(RateWindow):
        def free_at(self, amount: float, now: float) -> float:
            held.append(limited.lock.locked())
            return super().free_at(amount, now)

        def take(self, amount: float, now: float) -> Span:
            held.append(limited.lock.locked())
            return super().take(amount, now)

    limited.requests, limited.tokens = (Watched(1),), (Watched(100),)
    reserved(limited)
    assert held == [True] * 4


def test_vectors_have_no_answer_to_reserve_tokens_for() -> None:
    assert rates(tpm=100).expected.of(Request(role=Role.EMBEDDING)) == (0.0, 0.0)


def test_a_limit_of_nothing_lets_nothing_through() -> None:
    window = RateWindow(0)
    assert window.free_at(1, NOW) == inf
    assert repr(window) == "<RateWindow 0 of 0 a minute>"


def test_more_than_the_whole_limit_goes_when_nothing_else_is_taken() -> None:
    limited = rates(tpm=100)
    reserved(limited, NOW, prompt=1000)
    assert limited.free_at(Request(prompt_tokens=1000, answer_tokens=0), NOW + 1.0) == NOW + 60.0
    assert limited.reserve(Request(prompt_tokens=1, answer_tokens=0), NOW + 1.0) is None


def test_twenty_four_threads_at_a_limit_of_six_get_six() -> None:
    for _ in range(20):
        pool = Pool([Endpoint("a", capacity=Capacity(max_rpm=6))], clock=FakeClock())
        start = Barrier(24)

        def ask(_: int, pool: Pool = pool, start: Barrier = start) -> bool:
            start.wait()
            try:
                pool.acquire()
            except NoEndpointAvailable:
                return False
            return True

        with ThreadPoolExecutor(24) as threads:
            assert sum(threads.map(ask, range(24))) == 6


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (Outcome.ok(usage=Usage(30, 20)), 950),
        (Outcome.ok(usage=Usage(300, 200)), 500),
        (Outcome.ok(), 750),  # as it was expected: 100 * 1.5 and 100
        (Outcome.abandoned(), 850),
        (Outcome.failed("reset"), 850),
        (Outcome.throttled(1.0), 1000),
        (Outcome.misconfigured("no such model"), 1000),
        (Outcome.rejected("too long a name"), 1000),
    ],
)
def test_tokens_are_settled_with_what_was_used(outcome: Outcome, left: float) -> None:
    limited = rates(rpm=10, tpm=1000)
    reservation = reserved(limited, prompt=100, answer=100)
    assert limited.tokens[0].left(NOW) == 750
    reservation.settle(outcome, NOW + 1.0)
    reservation.settle(Outcome.ok(usage=Usage(900, 0)), NOW + 1.0)  # once is all
    reservation.cancel()
    assert limited.tokens[0].left(NOW + 1.0) == left
    assert limited.requests[0].left(NOW + 1.0) == 9  # the call itself was made


def test_a_call_that_was_never_made_counts_nowhere() -> None:
    limited = rates(rpm=10, tpm=1000)
    reservation = reserved(limited, prompt=100)
    reservation.cancel()
    reservation.cancel()
    assert (limited.requests[0].left(NOW), limited.tokens[0].left(NOW)) == (10, 1000)


def test_what_is_settled_after_its_minute_gives_nothing_back() -> None:
    limited = rates(tpm=1000)
    old = reserved(limited, prompt=100)
    reserved(limited, NOW + 59.0, prompt=100)
    assert limited.tokens[0].left(NOW + 61.0) == 850
    old.settle(Outcome.throttled(), NOW + 61.0)
    assert limited.tokens[0].left(NOW + 61.0) == 850


def test_what_was_used_beyond_counts_from_when_it_is_known() -> None:
    limited = rates(tpm=1000)
    reserved(limited, prompt=100).settle(Outcome.ok(usage=Usage(1050, 100)), NOW + 30.0)
    assert limited.tokens[0].left(NOW + 30.0) == 0
    assert limited.free_at(Request(prompt_tokens=10, answer_tokens=0), NOW + 60.0) == NOW + 90.0


def test_how_long_answers_are_is_learnt() -> None:
    limited = rates(tpm=100_000)
    request = Request(prompt_tokens=10)
    assert limited.expected.of(request) == (15.0, ANSWER)
    for _ in range(200):
        found = limited.reserve(request, NOW)
        assert found is not None
        found.settle(Outcome.ok(usage=Usage(20, 50)), NOW)
    assert limited.expected.of(request) == pytest.approx((20.0, 50.0), rel=0.02)
    assert limited.expected.of(Request(answer_tokens=7)) == (0.0, 7.0)


def test_endpoints_of_a_group_share_its_quota_beside_their_own() -> None:
    limits = RateLimits({"g": Quota(max_rpm=3)})
    a = limits.of(Endpoint("a", quota_group="g", capacity=Capacity(max_rpm=2)))
    b = limits.of(Endpoint("b", quota_group="g"))
    assert a is not None
    assert b is not None
    reserved(a), reserved(a)
    assert a.reserve(Request(), NOW) is None
    reserved(b)
    assert b.reserve(Request(), NOW) is None
    assert a.counts(NOW) == {"rpm": (2.0, 2)}
    assert b.counts(NOW) == {"rpm": (3.0, 3)}
    assert repr(b) == "<Rates [<RateWindow 3 of 3 a minute>]>"


def test_who_has_no_limit_has_no_rates() -> None:
    limits = RateLimits({"g": Quota(max_rpm=3)})
    assert limits.of(Endpoint("a")) is None
    assert limits.of(Endpoint("b", quota_group="another")) is None


def test_an_endpoint_that_leaves_and_comes_back_has_the_same_minute() -> None:
    clock = FakeClock()
    pool = Pool([Endpoint("a", capacity=Capacity(max_rpm=1))], clock=clock)
    pool.acquire()
    pool.remove("a")
    pool.add(Endpoint("a", capacity=Capacity(max_rpm=1)))
    with pytest.raises(NoEndpointAvailable, match=r"out of its limits per minute for 60\.0 s more") as caught:
        pool.acquire()
    assert caught.value.retry_after == 60.0
    pool.replace([Endpoint("a", capacity=Capacity(max_rpm=2))])
    pool.acquire()
    pool.remove("a")
    clock.advance(61.0)
    pool.replace([])
    assert pool.rates._windows == {}


def test_who_is_out_of_its_limits_is_passed_over() -> None:
    pool = Pool([Endpoint("a", capacity=Capacity(max_rpm=2)), Endpoint("b")], clock=FakeClock(), seed=1)
    asked = [pool.acquire().endpoint.id for _ in range(10)]
    assert asked.count("a") == 2
    member = pool.get("a")
    assert member is not None
    assert member.limits(FakeClock().now()) == {"rpm": 2, "rpm_used": 2.0}


def test_a_lease_that_is_cancelled_gives_its_place_in_the_minute_back() -> None:
    pool = Pool([Endpoint("a", capacity=Capacity(max_rpm=1))], clock=FakeClock())
    pool.acquire().cancel()
    pool.acquire().settle(Outcome.abandoned())
    with pytest.raises(NoEndpointAvailable):
        pool.acquire()


def test_a_place_in_the_minute_is_not_lost_where_there_is_no_room_for_the_call() -> None:
    pool = Pool([Endpoint("a", capacity=Capacity(max_connections=1, max_rpm=5))], clock=FakeClock())
    with pool.acquire():
        for _ in range(10):
            with pytest.raises(NoEndpointAvailable):
                pool.acquire()
    member = pool.get("a")
    assert member is not None
    assert member.limits(FakeClock().now())["rpm_used"] == 1.0


def test_a_quota_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="give max_rpm, max_tpm or both"):
        Quota()
