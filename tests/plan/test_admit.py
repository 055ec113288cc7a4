"""Waiting for a place and being shed, stepped by hand: when, with what, and what is told."""

from __future__ import annotations

import pytest

from langchain_cluster import QueuePolicy, Quota, ThrottlePolicy
from langchain_cluster.errors import ClusterExhausted, DeadlineExceeded, NoEndpointAvailable, Overloaded
from langchain_cluster.model.call import Outcome, Request, Usage
from langchain_cluster.model.endpoint import Capacity, Endpoint, Role
from langchain_cluster.model.events import CallDequeued, CallQueued, CallShed
from langchain_cluster.plan.effects import Call, Wait
from tests.plan.stepping import Stepped, World

ONE = Capacity(max_connections=1)


def full(size: int = 10_000, timeout: float | None = 60.0, queue_timeout: float | None = None) -> World:
    """A world whose only place is taken."""
    queue = QueuePolicy(size=size, timeout=queue_timeout)
    return World(Endpoint("a", capacity=ONE), timeout=timeout, pool={"queue": queue})


def shed(world: World, **request: object) -> Overloaded:
    with pytest.raises(Overloaded) as caught:
        world.ask(Request(**request))  # type: ignore[arg-type]
    return caught.value


def test_how_long_a_call_waited_is_told_and_in_its_answer() -> None:
    world = full()
    first, second = world.ask(), world.ask()
    world.clock.advance(0.75)
    first.send(Outcome.ok(value="one"))
    second.send(None)
    assert isinstance(second.now, Call)
    second.send(Outcome.ok(value="two"))
    assert first.answer is not None
    assert second.answer is not None
    assert (first.answer.queue_seconds, second.answer.queue_seconds) == (0.0, 0.75)
    assert second.answer.as_metadata()["queue_seconds"] == 0.75
    assert "queue_seconds" not in first.answer.as_metadata()
    assert [event.waiting for event in world.told(CallQueued)] == [1]
    assert [(event.endpoint, event.seconds) for event in world.told(CallDequeued)] == [("a", 0.75)]


def test_who_comes_later_does_not_get_the_place_of_who_waits() -> None:
    world = full()
    first, second = world.ask(), world.ask()
    first.send(Outcome.ok(value="one"))
    third = world.ask()  # the second call has not woken yet
    assert isinstance(third.now, Wait)
    second.send(None)
    assert second.endpoint == "a"
    second.send(Outcome.ok(value="two"))
    third.send(None)
    assert third.endpoint == "a"
    third.leave()


def test_a_full_line_refuses_at_once_and_says_when_to_come_again() -> None:
    world = full(size=2)
    world.pool.typical = {frozenset({Role.LLM}): 3.0}
    calls = [world.ask() for _ in range(3)]
    error = shed(world)
    assert error.retry_after == 9.0  # two wait, and it would be the third, at 3 s each
    assert str(error) == "every endpoint is at a limit, and 2 calls wait; come again in 9.0 s"
    assert [(event.reason, event.retry_after) for event in world.told(CallShed)] == [
        ("every endpoint is at a limit, and 2 calls wait", 9.0)
    ]
    for call in reversed(calls):
        call.leave()
    assert (world.pool.line.waiting, world.in_flight) == (0, 0)


def test_without_a_line_nobody_waits() -> None:
    world = full(size=0)
    call = world.ask()
    assert shed(world).retry_after == 1.0
    call.leave()
    world.ask().leave()


def test_a_critical_call_takes_the_place_of_a_sheddable_one_that_waits() -> None:
    world = full(size=1)
    first, sheddable = world.ask(), world.ask(Request(priority="sheddable"))
    told: list[str] = []
    assert isinstance(sheddable.now, Wait)
    sheddable.now.awaited.subscribe(lambda: told.append("shed"))
    critical = world.ask(Request(priority="critical"))
    assert told == ["shed"]
    assert "a call that matters more" in str(sheddable.raises(Overloaded))
    first.send(Outcome.ok(value="one"))
    critical.send(None)
    assert critical.endpoint == "a"
    critical.leave()


def test_the_lines_own_timeout_is_an_overload_and_not_a_deadline() -> None:
    world = full(queue_timeout=0.5)
    first, second = world.ask(), world.ask()
    assert isinstance(second.now, Wait)
    assert second.now.until == 1000.5
    world.clock.advance(0.5)
    assert "no place became free within 0.5 s" in str(second.raises(Overloaded))
    first.leave()


def test_a_place_that_comes_with_the_deadline_is_given_back_and_not_used() -> None:
    world = full(timeout=1.0)
    first, second = world.ask(), world.ask()
    world.clock.advance(0.999)
    first.send(Outcome.ok(value="one"))  # leased for the second, which wakes too late
    world.clock.advance(0.001)
    second.raises(DeadlineExceeded)
    assert world.in_flight == 0


def test_out_of_its_limits_a_call_waits_until_exactly_when_there_is_room() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_rpm=1)), timeout=90.0)
    first = world.ask()
    first.send(Outcome.ok(value="one"))
    world.clock.advance(59.5)
    second = world.ask()
    assert isinstance(second.now, Wait)
    assert second.now.until == 1060.0
    world.clock.advance(0.5)
    third = world.ask()  # comes before the second has woken, and does not get before it
    assert isinstance(third.now, Wait)
    third.leave()
    second.send(None)
    assert second.endpoint == "a"
    second.leave()


def test_limits_that_last_longer_than_the_call_refuse_it_at_once() -> None:
    world = World(
        Endpoint("a", quota_group="g"),
        Endpoint("b", quota_group="g"),
        timeout=30.0,
        pool={"quotas": {"g": Quota(max_rpm=2)}},
    )
    for _ in range(2):
        world.ask().send(Outcome.ok(value="fine"))
    world.clock.advance(20.0)
    error = shed(world)
    assert error.retry_after == pytest.approx(40.0)
    assert "out of its limits per minute" in str(error)
    with pytest.raises(NoEndpointAvailable) as caught:
        world.pool.acquire()
    assert caught.value.retry_after == pytest.approx(40.0)


def test_a_call_that_may_end_is_waited_for_although_limits_last_longer() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_rpm=1)), Endpoint("b", capacity=ONE), timeout=30.0)
    calls = [world.ask() for _ in range(3)]
    assert isinstance(calls[2].now, Wait)
    for call in calls:
        call.leave()


def test_tokens_that_were_not_used_let_the_next_call_through() -> None:
    world = World(Endpoint("a", capacity=Capacity(max_tpm=1000)), timeout=90.0)
    request = Request(prompt_tokens=200, answer_tokens=500)
    first, second = world.ask(request), world.ask(request)
    assert isinstance(second.now, Wait)
    first.send(Outcome.ok(value="short", usage=Usage(150, 50)))
    second.send(None)
    assert second.endpoint == "a"
    second.leave()


def test_who_waits_in_vain_gets_the_error_of_those_that_do_not_wait() -> None:
    world = full()
    first, second = world.ask(), world.ask()
    world.pool.force_open("a")
    error = second.raises(NoEndpointAvailable)
    assert "forced open" in str(error)
    first.leave()


def test_a_retry_that_finds_no_room_tells_what_came_before() -> None:
    world = World(
        Endpoint("a"),
        Endpoint("b"),
        Endpoint("c", capacity=ONE),
        timeout=60,
        pool={"queue": QueuePolicy(size=0)},
    )
    blocking = world.pool.acquire(exclude=("a", "b"))
    call = world.ask()
    call.send(Outcome.failed(ConnectionError("refused")))
    error = call.raises(ClusterExhausted, Outcome.failed(ConnectionError("refused")))
    assert len(error.attempts) == 2
    assert error.__notes__[0].startswith("no further attempt: every endpoint is at a limit")
    blocking.settle(Outcome.abandoned())


def test_a_throttled_call_is_shed_before_anybody_is_asked() -> None:
    world = World(
        "a", attempts=1, timeout=60, pool={"throttle": ThrottlePolicy(), "breaker": None}, budget=None
    )
    asked, waits = 0, set()
    for _ in range(100):
        try:
            call = world.ask()
        except Overloaded as error:
            waits.add(error.retry_after)
            continue
        asked += 1
        call.raises(ConnectionError, Outcome.failed(ConnectionError("refused")))
    assert waits == {1.0}
    assert 15 <= asked < 50
    assert len(world.told(CallShed)) == 100 - asked
    assert world.pool.throttle is not None
    assert world.pool.throttle.refused == 100 - asked


@pytest.mark.parametrize("stream", [False, True])
def test_answers_and_mistakes_of_the_caller_are_no_reason_to_throttle(stream: bool) -> None:
    world = World("a", attempts=1, timeout=60, pool={"throttle": ThrottlePolicy()})
    throttle = world.pool.throttle
    assert throttle is not None
    for number in range(50):
        call: Stepped = world.ask(stream=stream)
        if number % 2 or stream:
            call.raises(ValueError, Outcome.rejected(ValueError("too hot")))
        else:
            call.send(Outcome.ok(value="fine"))
        call = world.ask(stream=stream)
        call.leave()  # nobody knows what it would have been
    assert throttle.chance("sheddable", world.clock.now()) == 0.0
