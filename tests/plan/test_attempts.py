"""One call, stepped by hand: every verdict, every limit, and what the caller gets at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity.stop import stop_after_attempt, stop_after_delay, stop_before_delay
from tenacity.wait import wait_exponential

from langchain_cluster.errors import (
    ClusterExhausted,
    DeadlineExceeded,
    NoEndpointAvailable,
    StreamInterrupted,
)
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.call import Answer, Outcome, Request, Usage, Verdict
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Price
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.plan.admit import LOOK_AGAIN
from langchain_cluster.plan.call import attempts_of
from langchain_cluster.plan.effects import Call, Open, Relay, Sleep, Wait
from langchain_cluster.plan.tries import ROUND_TRIP, STALE_CONNECTIONS
from tests.plan.stepping import World

REFUSED = ConnectionError("refused")
REFUSED_FOR_EVER = ConnectionError("refused")


def failed(text: str = "refused", seconds: float = 0.1) -> Outcome:
    return Outcome.failed(ConnectionError(text), seconds=seconds)


def overflow() -> Outcome:
    return Outcome(Verdict.OVERFLOW, error=ValueError("too long"), reason="too long")


def stale() -> Outcome:
    return Outcome(Verdict.STALE_LOOP, error=RuntimeError("Event loop is closed"), reason="loop is closed")


# -- OK --------------------------------------------------------------------------------------------


def test_an_answer_ends_the_call() -> None:
    world = World(Endpoint("a", tier="fast", price=Price(input=1.0, output=2.0)), timeout=60)
    call = world.ask()
    assert isinstance(call.now, Call)
    assert (call.attempt.number, call.endpoint, world.in_flight) == (1, "a", 1)
    assert call.attempt.request == Request(fingerprint="f")
    world.clock.advance(2.0)
    call.send(Outcome.ok(value="hi", seconds=2.0, usage=Usage(1_000_000, 500_000)))
    answer = call.answer
    assert answer is not None
    assert (answer.value, answer.endpoint, answer.tier, answer.source) == ("hi", "a", "fast", "off")
    assert (answer.attempts, answer.seconds, answer.cost, answer.hedged) == (1, 2.0, 2.0, False)
    assert (answer.delivered, answer.storable) == (False, True)
    assert (world.in_flight, world["a"].served) == (0, 1)
    assert world.ended.answer is not None
    assert world.ended.answer.value is None  # events do not carry what was said
    assert (world.ended.error, world.ended.attempts) == (None, 1)
    assert world.reports == []


@pytest.mark.parametrize(("price", "usage"), [(None, Usage(5, 5)), (Price(input=1.0), None), (None, None)])
def test_without_a_price_or_a_usage_the_cost_is_unknown(price: Price | None, usage: Usage | None) -> None:
    call = World(Endpoint("a", price=price)).ask()
    call.send(Outcome.ok(value="hi", usage=usage))
    assert call.answer is not None
    assert call.answer.cost is None
    assert call.answer.usage == usage


def test_whether_an_answer_may_be_stored_is_passed_on() -> None:
    call = World("a").ask()
    call.send(Outcome.ok(value="cut", storable=False))
    assert call.answer is not None
    assert not call.answer.storable


# -- TRANSIENT -------------------------------------------------------------------------------------


def test_a_failure_is_tried_elsewhere_at_once() -> None:
    world = World("a", "b", "c")
    call = world.ask()
    assert call.endpoint == "a"
    call.send(failed())
    assert (call.endpoint, call.attempt.number, world.in_flight) == ("b", 2, 1)
    call.send(failed())
    assert (call.endpoint, call.attempt.number) == ("c", 3)
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None
    assert (call.answer.attempts, call.answer.endpoint) == (3, "c")
    assert [world[id].failed for id in "abc"] == [1, 1, 0]
    assert world.reports == [
        "attempt 1 on a: refused after 0.1 s",
        "attempt 2 on b: refused after 0.1 s",
    ]
    assert world.ended.attempts == 3
    assert world.clock.slept == []


def test_several_endpoints_that_fail_are_exhausted_with_every_attempt() -> None:
    world = World("a", "b", "c", "d")
    call = world.ask()
    call.send(failed("one"))
    call.send(failed("two"))
    last = ConnectionError("three")
    error = call.raises(ClusterExhausted, Outcome.failed(last, seconds=0.1))
    assert [(r.number, r.endpoint, r.reason) for r in error.attempts] == [
        (1, "a", "one"),
        (2, "b", "two"),
        (3, "c", "three"),
    ]
    assert error.__cause__ is last
    assert (world.ended.error, world.ended.attempts) == ("ClusterExhausted", 3)
    assert world.in_flight == 0


def test_a_single_endpoint_is_asked_again_after_a_wait() -> None:
    world = World("a", wait=wait_exponential(multiplier=0.25, max=10))
    call = world.ask()
    call.send(failed())
    assert world.in_flight == 0  # nothing is held while it waits
    assert call.pause() == 0.25
    assert (call.endpoint, call.attempt.number) == ("a", 2)
    call.send(failed())
    assert call.pause() == 0.5
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None
    assert call.answer.attempts == 3


def test_a_single_endpoints_error_reaches_the_caller_with_one_note_per_attempt() -> None:
    world = World("a")
    call = world.ask()
    call.send(failed("one"))
    call.pause()
    call.send(failed("two"))
    call.pause()
    last = ConnectionError("three")
    error = call.raises(ConnectionError, Outcome.failed(last, seconds=30.0))
    assert error is last
    assert error.__notes__ == [
        "attempt 1 on a: one after 0.1 s",
        "attempt 2 on a: two after 0.1 s",
        "attempt 3 on a: three after 30.0 s",
    ]
    assert (world.ended.error, world.ended.attempts) == ("ConnectionError", 3)


def test_one_error_raised_again_and_again_has_each_note_once() -> None:
    world = World("a", attempts=2)
    call = world.ask()
    call.send(Outcome.failed(REFUSED))
    call.pause()
    error = call.raises(ConnectionError, Outcome.failed(REFUSED))
    assert len(error.__notes__) == len(set(error.__notes__)) == 2


def test_when_all_were_tried_the_same_places_are_asked_again() -> None:
    world = World("a", "b", attempts=5)
    call = world.ask()
    order = []
    for _ in range(4):
        order.append(call.endpoint)
        call.send(failed())
        if isinstance(call.now, Sleep):
            assert call.pause() == 0.5
    assert order == ["a", "b", "a", "b"]
    error = call.raises(ClusterExhausted, failed())
    assert len(error.attempts) == 5


def test_one_attempt_is_one_attempt() -> None:
    world = World("a", "b", attempts=1)
    call = world.ask()
    error = call.raises(ConnectionError, failed())
    assert error.__notes__ == ["attempt 1 on a: refused after 0.1 s"]
    assert world["b"].failed == 0


def test_the_standby_is_asked_when_the_first_level_fails() -> None:
    world = World("a", Endpoint("b", priority=1))
    call = world.ask()
    call.send(failed())
    assert call.endpoint == "b"


def test_an_outcome_without_an_error_is_still_an_error_for_the_caller() -> None:
    world = World("a", "b", attempts=1)
    error = world.ask().raises(ClusterExhausted, Outcome(Verdict.TRANSIENT, reason="half an answer"))
    assert "attempt 1 on a: half an answer" in str(error)


def test_an_outcome_without_a_reason_is_told_by_its_verdict() -> None:
    world = World("a", "b")
    world.ask().send(Outcome(Verdict.TRANSIENT))
    assert world.reports == ["attempt 1 on a: transient after 0.0 s"]


# -- THROTTLED -------------------------------------------------------------------------------------


def test_a_throttled_call_goes_elsewhere_at_once() -> None:
    world = World("a", "b")
    call = world.ask()
    call.send(Outcome.throttled(30.0))
    assert (call.endpoint, world.clock.now()) == ("b", 1000.0)
    assert world["a"].failed == 0
    assert world["a"].breaker.counts(1000.0) == (0, 0, 0)


def test_with_nowhere_to_go_it_waits_as_long_as_it_was_asked_to() -> None:
    world = World("a", timeout=60)
    call = world.ask()
    call.send(Outcome.throttled(3.0))
    assert call.pause() == pytest.approx(3.0)
    assert (call.endpoint, call.attempt.number) == ("a", 2)


def test_a_quota_group_is_one_place() -> None:
    world = World(Endpoint("a", quota_group="q"), Endpoint("b", quota_group="q"), timeout=60)
    call = world.ask()
    call.send(Outcome.throttled(3.0))
    assert call.pause() == pytest.approx(3.0)


def test_a_wait_longer_than_the_deadline_is_not_begun() -> None:
    world = World("a", timeout=10)
    call = world.ask()
    error = call.raises(RuntimeError, Outcome.throttled(30.0))
    assert str(error) == "throttled"
    first, second = error.__notes__
    assert first == "attempt 1 on a: throttled after 0.0 s"
    assert second.startswith("no further attempt: no endpoint available (a: cooling down for 30.0 s more)")
    assert "in 30.0 s" in second
    assert world.ended.attempts == 1
    assert world.clock.now() == 1000.0


def test_a_wait_that_ends_at_the_deadline_is_not_begun_either() -> None:
    world = World("a", timeout=10)
    assert world.ask().raises(RuntimeError, Outcome.throttled(10.0))
    world = World("a", timeout=10)
    call = world.ask()
    call.send(Outcome.throttled(9.9))
    assert isinstance(call.now, Sleep)


def test_a_new_call_waits_for_an_endpoint_that_cools_down() -> None:
    world = World("a", timeout=60)
    world.pool.acquire().settle(Outcome.throttled(5.0))
    call = world.ask()
    assert call.pause() == pytest.approx(5.0)
    assert call.attempt.number == 1


def test_a_new_call_that_cannot_wait_fails_at_once_with_the_time() -> None:
    world = World("a", timeout=2)
    world.pool.acquire().settle(Outcome.throttled(5.0))
    with pytest.raises(NoEndpointAvailable) as caught:
        world.ask()
    assert caught.value.retry_after == pytest.approx(5.0)
    assert (world.ended.error, world.ended.attempts) == ("NoEndpointAvailable", 0)


def test_without_a_deadline_it_waits_for_as_long_as_it_takes() -> None:
    world = World("a", timeout=None)
    call = world.ask()
    assert call.attempt.limits.until is None
    call.send(Outcome.throttled(250.0))
    assert call.pause() == pytest.approx(250.0)


def test_an_endpoint_that_failed_is_asked_again_before_one_that_cools_down_for_long() -> None:
    world = World("a", "b", timeout=60)
    world["b"].cooling_until = 1030.0
    world.pool._publish(1000.0)
    call = world.ask()
    call.send(failed())
    assert call.pause() == 0.5
    assert call.endpoint == "a"


def test_an_endpoint_that_cools_down_for_longer_than_the_call_does_not_end_it() -> None:
    world = World("a", "b", timeout=60)
    world["b"].cooling_until = 1300.0
    world.pool._publish(1000.0)
    call = world.ask()
    call.send(failed())
    assert call.pause() == 0.5
    assert call.endpoint == "a"


def test_an_endpoint_that_has_cooled_down_soon_is_asked_before_the_same_again() -> None:
    world = World("a", "b", timeout=60)
    world["b"].cooling_until = 1000.2
    world.pool._publish(1000.0)
    call = world.ask()
    call.send(failed())
    assert call.pause() == pytest.approx(0.2)
    world.clock.advance(0.001)


# -- CONFIG, CALLER, OVERFLOW, STALE_LOOP, ABANDONED -------------------------------------------------


def test_a_misconfigured_endpoint_opens_at_once_and_the_call_goes_elsewhere() -> None:
    world = World("a", "b")
    call = world.ask()
    call.send(Outcome.misconfigured(PermissionError("401")))
    assert call.endpoint == "b"
    assert world["a"].breaker_state is BreakerState.OPEN


def test_a_single_misconfigured_endpoint_ends_the_call_with_its_error() -> None:
    world = World("a")
    call = world.ask()
    error = call.raises(PermissionError, Outcome.misconfigured(PermissionError("401")))
    assert error.__notes__[0] == "attempt 1 on a: 401 after 0.0 s"
    assert "no further attempt: no endpoint available (a: circuit open for" in error.__notes__[1]
    assert world.ended.attempts == 1


def test_a_callers_mistake_is_raised_and_blames_nobody() -> None:
    world = World("a", "b")
    mistake = ValueError("bad schema")
    error = world.ask().raises(ValueError, Outcome.rejected(mistake))
    assert error is mistake
    assert error.__notes__ == ["attempt 1 on a: bad schema after 0.0 s"]
    assert (world["a"].failed, world["a"].breaker.counts(1000.0)) == (0, (0, 0, 0))
    assert (world.ended.error, world.ended.attempts) == ("ValueError", 1)


def test_a_callers_mistake_after_a_failure_tells_both() -> None:
    call = World("a", "b").ask()
    call.send(failed())
    error = call.raises(ValueError, Outcome.rejected(ValueError("bad")))
    assert error.__notes__ == [
        "attempt 1 on a: refused after 0.1 s",
        "attempt 2 on b: bad after 0.0 s",
    ]


def test_a_mistake_without_an_error_is_one() -> None:
    error = World("a").ask().raises(RuntimeError, Outcome(Verdict.CALLER, reason="filtered"))
    assert str(error) == "filtered"


def test_an_overflow_goes_only_where_the_window_is_larger() -> None:
    world = World(
        Endpoint("a", context_window=8_000),
        Endpoint("same", context_window=8_000),
        Endpoint("unknown"),
        Endpoint("large", context_window=32_000),
    )
    call = world.ask()
    call.send(overflow())
    assert (call.endpoint, call.attempt.number) == ("large", 2)
    assert world["a"].failed == 0
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None
    assert call.answer.attempts == 2


def test_an_overflow_of_the_larger_goes_to_the_largest() -> None:
    world = World(*(Endpoint(f"w{n}", context_window=n) for n in (1, 2, 3)))
    call = world.ask()
    call.send(overflow())
    assert call.endpoint == "w2"
    call.send(overflow())
    assert call.endpoint == "w3"
    with_note = call.raises(ValueError, overflow())
    assert len(with_note.__notes__) == 3


@pytest.mark.parametrize("window", [None, 8_000])
def test_an_overflow_with_no_larger_window_is_raised(window: int | None) -> None:
    world = World(Endpoint("a", context_window=window), Endpoint("b", context_window=window), "c")
    error = world.ask().raises(ValueError, overflow())
    assert str(error) == "too long"
    assert world.ended.attempts == 1


def test_a_larger_window_that_fails_is_asked_again_and_the_small_one_is_not() -> None:
    world = World(Endpoint("a", context_window=8), Endpoint("b", context_window=32), attempts=4)
    call = world.ask()
    call.send(overflow())
    call.send(failed())
    call.pause()
    assert call.endpoint == "b"


def test_a_larger_window_that_may_not_be_asked_is_not_waited_for_in_vain() -> None:
    world = World(Endpoint("a", context_window=8), Endpoint("b", context_window=32))
    world.pool.force_open("b")
    error = world.ask().raises(ValueError, overflow())
    assert any("b: forced open" in note for note in error.__notes__)


def test_a_client_of_a_closed_loop_is_asked_again_at_once_and_that_is_no_attempt() -> None:
    world = World("a", attempts=1)
    call = world.ask()
    for _ in range(STALE_CONNECTIONS):
        assert (call.endpoint, call.attempt.number) == ("a", 1)
        call.send(stale())
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None
    assert call.answer.attempts == 1
    assert world.reports == []
    assert (world["a"].failed, world.in_flight) == (0, 0)


def test_clients_of_closed_loops_are_asked_again_only_so_often() -> None:
    world = World("a", "b", attempts=1)
    call = world.ask()
    for _ in range(STALE_CONNECTIONS):
        call.send(stale())
    error = call.raises(RuntimeError, stale())
    assert "Event loop is closed" in str(error)
    assert world.in_flight == 0


def test_a_client_of_a_closed_loop_is_asked_again_and_not_its_neighbour() -> None:
    """Ten dead connections on each of four endpoints must not use up one call's patience."""
    world = World("a", "b", "c", pool={"balancer": "round_robin"})
    call = world.ask()
    first = call.endpoint
    for _ in range(STALE_CONNECTIONS):
        call.send(stale())
        assert call.endpoint == first


def test_a_client_of_a_closed_loop_that_may_not_be_asked_again_is_left() -> None:
    world = World("a", "b")
    call = world.ask()
    world.pool.drain("a")
    call.send(stale())
    assert call.endpoint == "b"


def hung_up(seconds: float = 0.1) -> Outcome:
    error = ConnectionError("disconnected")
    return Outcome(Verdict.TRANSIENT, seconds, error=error, reason="disconnected", hung_up=True)


def answered(world: World, at: str) -> None:
    """Somebody has just been answered there."""
    call = world.ask()
    assert call.endpoint == at
    call.send(Outcome.ok(value="hi", seconds=0.1))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_connection_kept_too_long_is_no_try_and_blames_nobody(streaming: bool) -> None:
    world = World("a", Endpoint("b", priority=1), attempts=1)
    answered(world, "a")
    call = world.ask(stream=streaming)
    assert (call.endpoint, call.attempt.number) == ("a", 1)
    call.send(hung_up())
    assert (call.endpoint, call.attempt.number) == ("a", 1)
    assert world.reports == []
    assert (world["a"].failed, world["a"].ewma_seconds) == (0, 0.1)


def test_who_hangs_up_twice_has_failed_once() -> None:
    world = World("a", Endpoint("b", priority=1))
    answered(world, "a")
    call = world.ask()
    call.send(hung_up())
    call.send(hung_up())
    assert (call.endpoint, call.attempt.number, world["a"].failed) == ("b", 2, 1)
    call.send(Outcome.ok(value="hi"))
    call = world.ask()
    call.send(hung_up())
    assert (call.endpoint, world["a"].failed) == ("b", 2), "the last it did was to fail"


def test_who_hangs_up_unasked_before_has_failed() -> None:
    world = World("a", Endpoint("b", priority=1))
    call = world.ask()
    call.send(hung_up())
    assert (call.endpoint, call.attempt.number, world["a"].failed) == ("b", 2, 1)


def test_who_hangs_up_late_was_at_work_and_has_failed() -> None:
    world = World("a", Endpoint("b", priority=1))
    answered(world, "a")
    call = world.ask()
    call.send(hung_up(ROUND_TRIP))
    assert (call.endpoint, call.attempt.number, world["a"].failed) == ("b", 2, 1)


def test_an_abandoned_attempt_is_followed_by_nothing() -> None:
    world = World("a", "b")
    call = world.ask()
    with pytest.raises(BaseException):
        call.plan.send(Outcome.abandoned())
    assert (world["a"].failed, world["b"].failed, world.in_flight) == (0, 0, 0)


# -- attempts, budget, deadline ----------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_there_are_as_many_attempts_as_the_policy_says(attempts: int) -> None:
    world = World(*"abcdefghi", attempts=attempts)
    call = world.ask()
    for number in range(1, attempts):
        assert call.attempt.number == number
        call.send(failed())
    call.raises(Exception, failed())
    assert world.ended.attempts == attempts


def test_a_spent_budget_ends_the_call_with_the_reason() -> None:
    world = World("a", "b", budget=0.0)
    assert world.cx.budget is not None
    while world.cx.budget.withdraw(1000.0):
        pass
    error = world.ask().raises(ConnectionError, failed())
    assert error.__notes__ == [
        "attempt 1 on a: refused after 0.1 s",
        "no further attempt: the retry budget of the cluster is spent",
    ]
    assert world.ended.attempts == 1


def test_a_spent_budget_after_several_endpoints_is_told_with_them() -> None:
    world = World("a", "b", "c", budget=0.0)
    assert world.cx.budget is not None
    for _ in range(29):
        assert world.cx.budget.withdraw(1000.0)
    call = world.ask()
    call.send(failed())
    error = call.raises(ClusterExhausted, failed())
    assert error.__notes__ == ["no further attempt: the retry budget of the cluster is spent"]
    assert world.ended.attempts == 2


def test_every_call_deposits_once_and_every_retry_withdraws_once() -> None:
    world = World("a", "b", "c", budget=0.2)
    call = world.ask()
    call.send(failed())
    call.send(failed())
    call.send(Outcome.ok(value="hi"))
    assert repr(world.cx.budget) == "<RetryBudget 2 extras for 1 calls in 10 s>"


def test_a_deadline_that_is_over_after_an_attempt_ends_the_call() -> None:
    world = World("a", "b", timeout=10)
    call = world.ask()
    world.clock.advance(10.0)
    cause = TimeoutError("slow")
    error = call.raises(DeadlineExceeded, Outcome.failed(cause, seconds=10.0))
    assert (error.after, error.__cause__) == (10.0, cause)
    assert [report.endpoint for report in error.attempts] == ["a"]
    assert isinstance(error, TimeoutError)
    assert (world.ended.error, world.ended.attempts) == ("DeadlineExceeded", 1)


def test_an_answer_at_the_last_moment_is_an_answer() -> None:
    world = World("a", timeout=10)
    call = world.ask()
    world.clock.advance(10.0)
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None


def test_a_deadline_that_ends_during_a_wait_ends_the_call() -> None:
    world = World("a", timeout=10)
    call = world.ask()
    call.send(failed())
    assert isinstance(call.now, Sleep)
    world.clock.advance(11.0)
    assert len(call.raises(DeadlineExceeded).attempts) == 1


def test_a_deadline_that_is_over_before_anybody_was_asked() -> None:
    world = World("a", timeout=60)
    world.pool.acquire().settle(Outcome.throttled(5.0))
    call = world.ask()
    assert isinstance(call.now, Sleep)
    world.clock.advance(100.0)
    error = call.raises(DeadlineExceeded)
    assert str(error) == "no complete answer within 60 s: nobody was asked"
    assert (error.attempts, error.__cause__, world.ended.attempts) == ((), None, 0)


def test_an_attempt_has_what_is_left_of_the_call_at_most() -> None:
    world = World("a", "b", timeout=10, attempt_timeout=6, first_token_timeout=2, connect_timeout=1)
    call = world.ask()
    limits = call.attempt.limits
    assert (limits.until, limits.connect, limits.first_token, limits.idle) == (1006.0, 1.0, 2.0, 30.0)
    world.clock.advance(6.0)
    call.send(failed())
    assert call.attempt.limits.until == 1010.0


def test_without_a_timeout_an_attempt_has_its_own() -> None:
    assert World("a", timeout=None, attempt_timeout=6).ask().attempt.limits.until == 1006.0
    assert World("a", timeout=20).ask().attempt.limits.until == 1020.0


# -- nobody ------------------------------------------------------------------------------------------


def test_an_empty_pool_is_an_error_at_once() -> None:
    world = World()
    with pytest.raises(NoEndpointAvailable, match="the pool is empty"):
        world.ask()
    assert world.ended.attempts == 0


def test_open_circuits_are_not_waited_for() -> None:
    world = World("a")
    for _ in range(5):
        world.pool.acquire().settle(failed())
    with pytest.raises(NoEndpointAvailable) as caught:
        world.ask()
    assert 2.0 < (caught.value.retry_after or 0) <= 5.0


def test_a_circuit_that_opens_while_a_call_tries_ends_it_with_the_endpoints_error() -> None:
    world = World("a", attempts=10)
    call = world.ask()
    for _ in range(4):
        call.send(failed())
        call.pause()
    error = call.raises(ConnectionError, failed())
    assert len(error.__notes__) == 6
    assert "circuit open" in error.__notes__[-1]
    assert world.ended.attempts == 5


def test_an_endpoint_that_leaves_during_a_wait_ends_the_call() -> None:
    world = World("a")
    call = world.ask()
    call.send(failed())
    world.pool.remove("a")
    world.clock.advance(0.5)
    error = call.raises(ConnectionError)
    assert "the pool is empty" in error.__notes__[-1]


def test_a_call_may_probe_only_while_it_could_still_go_elsewhere() -> None:
    world = World("a", "b", attempts=2, pool={"breaker": BreakerPolicy(open_for=1)})
    for _ in range(5):
        world.pool.acquire(exclude=["b"]).settle(failed())
    world.clock.advance(5.0)
    call = world.ask()
    assert call.endpoint == "a"  # the probe, at once
    call.leave()
    third = world.ask()
    assert third.endpoint == "a"
    third.send(failed())
    assert third.endpoint == "b"


def test_the_last_try_goes_to_somebody_who_is_well() -> None:
    world = World("a", "b", "c", attempts=2)
    call = world.ask()
    assert call.endpoint == "a"
    for _ in range(5):
        world.pool.acquire(exclude=["a", "c"]).settle(failed())
    world.clock.advance(5.0)  # a probe of b is due
    call.send(failed())
    assert call.endpoint == "c"
    assert world["b"].breaker_state is BreakerState.OPEN


def test_where_everybody_is_full_it_waits_for_a_place() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_connections=1)), timeout=60)
    first, second = world.ask(), world.ask()
    assert isinstance(second.now, Wait)
    assert second.now.until == 1000.0 + LOOK_AGAIN == 1001.0
    told: list[int] = []
    second.now.awaited.subscribe(lambda: told.append(1))
    first.send(Outcome.ok(value="hi"))
    assert told == [1]
    second.send(None)
    assert second.endpoint == "a"
    second.leave()


def test_waiting_for_a_place_ends_with_the_calls_time() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_connections=1)), timeout=1.5)
    first, second = world.ask(), world.ask()
    world.clock.advance(1.0)
    second.send(None)
    assert isinstance(second.now, Wait)
    assert second.now.until == 1001.5
    world.clock.advance(0.5)
    assert second.raises(DeadlineExceeded).attempts == ()
    first.leave()


def test_without_a_deadline_it_looks_for_a_place_again_and_again() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_connections=1)), timeout=None)
    first, second = world.ask(), world.ask()
    for round in range(5):
        assert isinstance(second.now, Wait)
        assert second.now.until == 1001.0 + round
        world.clock.advance(1.0)
        second.send(None)
    first.leave()


def test_a_wait_strategy_is_told_the_attempt_the_error_and_the_time_since_the_start() -> None:
    seen = []

    def wait(state: Any) -> float:
        seen.append((state.attempt_number, state.outcome.exception(), state.seconds_since_start))
        return 1.0

    world = World("a", wait=wait)
    call = world.ask()
    errors = [ConnectionError("one"), ConnectionError("two")]
    for error in errors:
        world.clock.advance(2.0)
        call.send(Outcome.failed(error))
        call.pause()
    assert seen == [(1, errors[0], 2.0), (2, errors[1], 5.0)]


def test_one_error_that_ends_several_calls_is_not_noted_twice() -> None:
    world = World("a", attempts=1)
    for _ in range(3):
        error = world.ask().raises(ConnectionError, Outcome.failed(REFUSED_FOR_EVER))
    assert error.__notes__ == ["attempt 1 on a: refused after 0.0 s"]


def test_a_policy_of_one_attempt_still_lets_endpoints_recover() -> None:
    world = World("a", "b", attempts=1)
    for _ in range(5):
        world.pool.acquire(exclude=["b"]).settle(failed())
    world.clock.advance(5.0)
    call = world.ask()
    assert call.endpoint == "a"
    call.send(Outcome.ok(value="hi"))
    assert world["a"].breaker_state is BreakerState.CLOSED


def test_who_is_busy_is_the_last_resort_of_a_retry() -> None:
    world = World("a", "b")
    world.pool.set_status("b", EndpointStatus.BUSY)
    call = world.ask()
    assert call.endpoint == "a"
    call.send(failed())
    assert call.endpoint == "b"


# -- streams -----------------------------------------------------------------------------------------


def test_a_stream_is_opened_then_relayed() -> None:
    world = World("a")
    call = world.ask(stream=True)
    assert isinstance(call.now, Open)
    opened = call.started()
    call.send(opened)
    assert call.now == Relay(opened.value)
    assert world.in_flight == 1  # load lasts until the stream ends
    call.send(Outcome.ok(value="all", seconds=3.0, first_token_seconds=0.2))
    assert call.answer is not None
    assert (call.answer.delivered, call.answer.value, call.answer.attempts) == (True, "all", 1)
    assert (world.in_flight, world["a"].served, world["a"].ewma_seconds) == (0, 1, 0.2)


def test_a_stream_that_fails_before_its_first_token_goes_elsewhere() -> None:
    world = World("a", "b")
    call = world.ask(stream=True)
    call.send(failed())
    assert isinstance(call.now, Open)
    assert (call.endpoint, world.in_flight) == ("b", 1)


def test_a_stream_that_breaks_after_its_first_token_is_interrupted() -> None:
    world = World("a", "b")
    call = world.ask(stream=True)
    call.send(call.started(partial="half"))
    cause = ConnectionError("reset")
    error = call.raises(StreamInterrupted, Outcome.failed(cause, seconds=2.0))
    assert (error.endpoint, error.partial, error.__cause__) == ("a", "half", cause)
    assert str(error) == "the stream of a broke after its first token: reset"
    assert error.__notes__ == ["attempt 1 on a: reset after 2.0 s"]
    assert (world["a"].failed, world["b"].failed, world.in_flight) == (1, 0, 0)
    assert (world.ended.error, world.ended.attempts) == ("StreamInterrupted", 1)


def test_a_stream_that_breaks_without_a_reason_is_told_by_its_verdict() -> None:
    call = World("a").ask(stream=True)
    call.send(call.started())
    error = call.raises(StreamInterrupted, Outcome(Verdict.TRANSIENT))
    assert str(error).endswith("first token: transient")


def test_a_stream_that_breaks_at_the_deadline_is_a_deadline() -> None:
    world = World("a", timeout=10)
    call = world.ask(stream=True)
    call.send(call.started())
    world.clock.advance(10.0)
    assert len(call.raises(DeadlineExceeded, failed()).attempts) == 1


def test_a_stream_interrupted_on_the_second_attempt_tells_both() -> None:
    world = World("a", "b")
    call = world.ask(stream=True)
    call.send(failed())
    call.send(call.started())
    error = call.raises(StreamInterrupted, failed("cut"))
    assert len(error.__notes__) == 2
    assert world.ended.attempts == 2


# -- leaving -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_leaving_at_any_point_blames_nobody_and_holds_nothing(steps: int, stream: bool) -> None:
    world = World("a", timeout=60)
    call = world.ask(stream=stream)
    for _ in range(steps):
        if isinstance(call.now, Sleep):
            call.pause()
        else:
            call.send(Outcome.throttled(1.0))
    call.leave()
    assert (world.in_flight, world["a"].failed) == (0, 0)
    assert world["a"].breaker.counts(1000.0) == (0, 0, 0)
    assert (world.ended.error, world.ended.answer) == ("abandoned", None)


def test_leaving_while_a_stream_is_relayed_blames_nobody() -> None:
    world = World("a")
    call = world.ask(stream=True)
    call.send(call.started())
    assert isinstance(call.now, Relay)
    call.leave()
    assert (world.in_flight, world["a"].failed, world["a"].served) == (0, 0, 0)
    assert world.ended.error == "abandoned"


def test_leaving_frees_the_probe() -> None:
    world = World("a")
    for _ in range(5):
        world.pool.acquire().settle(failed())
    world.clock.advance(5.0)
    for _ in range(3):
        call = world.ask()
        assert world["a"].breaker_state is BreakerState.HALF_OPEN
        call.leave()
    call = world.ask()
    call.send(Outcome.ok(value="hi"))
    assert world["a"].breaker_state is BreakerState.CLOSED


def test_an_error_of_the_driver_holds_nothing_either() -> None:
    world = World("a")
    call = world.ask()
    with pytest.raises(KeyboardInterrupt):
        call.throw(KeyboardInterrupt())
    assert world.in_flight == 0
    assert world.ended.error == "abandoned"


def test_nobody_listening_is_told_nothing() -> None:
    world = World("a")
    world.cx.heard = False
    call = world.ask()
    call.send(Outcome.ok(value="hi"))
    assert call.answer is not None
    assert world.events == []


def test_the_attempts_of_a_call_are_counted_by_how_it_ended() -> None:
    noted = ValueError()
    for note in ("attempt 1 on a: x", "attempt 2 on b: y", "no further attempt: z", "of mine"):
        noted.add_note(note)
    ends = [Answer("hi", "miss", attempts=4), ClusterExhausted(()), noted, ValueError(), None]
    assert [attempts_of(end) for end in ends] == [4, 0, 2, 0, 0]


# -- anything ----------------------------------------------------------------------------------------

VERDICTS = [v for v in Verdict if v is not Verdict.ABANDONED]


@given(
    st.lists(st.sampled_from(VERDICTS), max_size=30),
    st.integers(1, 4),
    st.integers(1, 5),
    st.booleans(),
)
def test_any_sequence_of_verdicts_ends_once_and_holds_nothing(
    verdicts: list[Verdict], endpoints: int, attempts: int, leaves: bool
) -> None:
    world = World(*"abcd"[:endpoints], attempts=attempts, timeout=30)
    asked = 0
    try:
        call = world.ask()
        for verdict in verdicts:
            while isinstance(call.now, Sleep):
                call.pause()
            if call.now is None:
                break
            assert world.in_flight == 1
            assert call.attempt.number <= attempts
            asked += verdict is not Verdict.STALE_LOOP
            call.send(Outcome(verdict, seconds=0.1, error=OSError("x"), reason="x"))
        if call.now is not None:
            call.leave()
    except AssertionError:
        raise
    except Exception:
        pass  # one error, whichever: how many there were is looked at below
    assert world.in_flight == 0
    assert world.ended.attempts <= attempts
    if world.ended.error not in (None, "abandoned"):
        assert world.ended.attempts == len(world.reports)


# -- stop ------------------------------------------------------------------------------------------


def test_a_stop_strategy_ends_the_tries_before_the_attempts_are_spent() -> None:
    world = World("a", "b", "c", attempts=9, stop=stop_after_attempt(2))
    call = world.ask()
    call.send(failed())
    error = call.raises(ClusterExhausted, failed())
    assert len(error.attempts) == 2
    assert error.__notes__ == ["no further attempt: the policy's stop strategy says so"]


def test_a_stop_strategy_sees_how_long_the_call_has_taken() -> None:
    world = World("a", "b", "c", attempts=9, stop=stop_after_delay(2.0))
    call = world.ask()
    world.clock.advance(1.0)
    call.send(failed())
    assert call.endpoint == "b"
    world.clock.advance(1.0)
    call.raises(ClusterExhausted, failed())


def test_a_wait_that_would_end_too_late_is_not_begun() -> None:
    world = World("a", attempts=9, wait=lambda state: 3.0, stop=stop_before_delay(2.0))
    error = world.ask().raises(ConnectionError, failed())
    assert any("no further attempt" in note for note in error.__notes__)
