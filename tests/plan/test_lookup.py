"""The cache around a call: hits, misses, broken caches, and identical calls in flight."""

from __future__ import annotations

from dataclasses import replace

import pytest

from langchain_cluster.errors import ClusterExhausted, DeadlineExceeded
from langchain_cluster.guard.flights import Flights
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.label import labelled
from langchain_cluster.plan.effects import Call, Found, Lookup, Open, Relay, Started, Store, Wait
from langchain_cluster.plan.times import LONGEST_PATIENCE, PAUSED
from tests.plan.stepping import OneKey, Stream, World

HI = Outcome.ok(value="hi", seconds=0.1)


# -- hit and miss ----------------------------------------------------------------------------------


def test_a_hit_asks_nobody() -> None:
    world = World("a", cache=True)
    call = world.ask()
    assert call.now == Lookup(("k",))
    world.clock.advance(0.01)
    call.send(Found(b"cached", "redis"))
    assert call.answer is not None
    assert (call.answer.value, call.answer.source, call.answer.endpoint) == ("cached", "redis", None)
    assert (call.answer.attempts, call.answer.cost) == (0, 0.0)
    assert call.answer.seconds == pytest.approx(0.01)
    assert not call.answer.delivered
    assert world["a"].served == 0
    assert (world.ended.attempts, world.ended.error) == (0, None)


def test_a_hit_pays_nothing_for_retries_and_a_miss_does() -> None:
    world = World("a", cache=True, budget=0.2)
    world.ask().send(Found(b"cached", "redis"))
    assert repr(world.cx.budget) == "<RetryBudget 0 extras for 0 calls in 10 s>"
    call = world.ask()
    call.send(None)
    call.send(HI)
    assert repr(world.cx.budget) == "<RetryBudget 0 extras for 1 calls in 10 s>"


def test_a_miss_asks_and_stores_under_the_key_of_whoever_answered() -> None:
    world = World("a", "b", cache=True)
    call = world.ask()
    call.send(None)
    assert isinstance(call.now, Call)
    call.send(Outcome.failed("no"))
    call.send(HI)
    assert call.now == Store("k@b", labelled(b"hi", 0.0))
    call.send(None)
    assert call.answer is not None
    assert (call.answer.value, call.answer.source, call.answer.attempts) == ("hi", "miss", 2)
    assert world.in_flight == 0


def test_all_keys_are_looked_up() -> None:
    world = World("a", cache=True)
    world.cx.keys = OneKey("k1", "k2")
    assert world.ask().now == Lookup(("k1", "k2"))


def test_a_request_that_has_no_key_leaves_the_cache_alone() -> None:
    world = World("a", cache=True)
    call = world.ask(Request())
    assert isinstance(call.now, Call)
    call.send(HI)
    assert call.answer is not None
    assert call.answer.source == "off"


def test_a_policy_without_cache_leaves_it_alone() -> None:
    world = World("a", cache=False)
    world.cx.keys, world.cx.codec = OneKey(), None
    assert isinstance(world.ask().now, Call)
    world = World("a", cache=True)
    world.cx.policy = world.cx.policy.but(cache=False)
    call = world.ask()
    call.send(HI)
    assert call.answer is not None
    assert call.answer.source == "off"


def test_refresh_asks_and_replaces_what_is_kept() -> None:
    world = World("a", cache=True)
    world.cx.policy = world.cx.policy.but(cache="refresh")
    call = world.ask()
    assert isinstance(call.now, Call)
    call.send(HI)
    assert call.now == Store("k@a", labelled(b"hi", 0.0))
    call.send(None)
    assert call.answer is not None
    assert call.answer.source == "miss"


def test_a_hit_on_a_stream_is_still_to_be_handed_out() -> None:
    world = World("a", cache=True)
    call = world.ask(stream=True)
    call.send(Found(b"cached", "memory"))
    assert call.answer is not None
    assert not call.answer.delivered


def test_a_stream_is_stored_when_it_is_whole() -> None:
    world = World("a", cache=True)
    call = world.ask(stream=True)
    call.send(None)
    assert isinstance(call.now, Open)
    call.send(call.started())
    assert isinstance(call.now, Relay)
    call.send(HI)
    assert call.now == Store("k@a", labelled(b"hi", 0.0))
    call.send(None)
    assert call.answer is not None
    assert call.answer.delivered


# -- broken caches ---------------------------------------------------------------------------------


def test_a_broken_cache_is_a_miss_and_an_event() -> None:
    world = World("a", cache=True)
    call = world.ask()
    call.throw(OSError("redis is down"))
    assert isinstance(call.now, Call)
    assert world.cache_failures == [("lookup", "OSError")]
    call.send(HI)
    call.throw(OSError("redis is down"))
    assert call.answer is not None
    assert call.answer.value == "hi"
    assert world.cache_failures == [("lookup", "OSError"), ("store", "OSError")]
    assert world.ended.error is None


def test_who_has_little_time_waits_once_for_a_cache_that_hangs() -> None:
    world = World("a", cache=True, timeout=1.0)
    call = world.ask()
    call.throw(TimeoutError())
    assert isinstance(call.now, Call)
    call.send(HI)
    assert call.answer is not None
    assert world.cache_failures == [("lookup", "TimeoutError"), ("store", "TimeoutError")]


@pytest.mark.parametrize("timeout", [60.0, None])
def test_who_has_time_tries_to_store_what_it_could_not_look_up(timeout: float | None) -> None:
    call = World("a", cache=True, timeout=timeout).ask()
    call.throw(TimeoutError())
    call.send(HI)
    assert isinstance(call.now, Store)


def test_bytes_that_nobody_can_read_are_a_miss_and_an_event() -> None:
    world = World("a", cache=True)
    call = world.ask()
    call.send(Found(b"broken", "memory"))
    assert isinstance(call.now, Call)
    assert world.cache_failures == [("lookup", "ValueError")]


def test_an_answer_that_cannot_be_written_is_an_answer() -> None:
    world = World("a", cache=True)
    call = world.ask()
    call.send(None)
    call.send(Outcome.ok(value=5))
    assert call.answer is not None
    assert call.answer.value == 5
    assert world.cache_failures == [("store", "TypeError")]


def test_only_whole_answers_are_stored() -> None:
    call = World("a", cache=True).ask()
    call.send(None)
    call.send(Outcome.ok(value="cut", storable=False))
    assert call.answer is not None
    assert call.answer.value == "cut"


def test_the_answer_of_an_endpoint_that_has_left_is_not_stored() -> None:
    """Nobody can tell any more which model it was."""
    world = World("a", "b", cache=True)
    call = world.ask()
    call.send(None)
    world.pool.remove("a")
    call.send(HI)
    assert call.answer is not None
    assert world.cache_failures == []


def test_leaving_during_a_lookup_or_a_store_is_leaving() -> None:
    for steps in ([], [None, HI]):
        world = World("a", cache=True)
        call = world.ask()
        for value in steps:
            call.send(value)
        assert isinstance(call.now, Lookup | Store)
        call.leave()
        assert world.ended.error == "abandoned"
        assert world.in_flight == 0


# -- identical calls in flight ---------------------------------------------------------------------


def flying(*endpoints: str | Endpoint, **policy: object) -> World:
    return World(*(endpoints or ("a", "b")), cache=True, flights=Flights(), **policy)


def test_of_identical_calls_one_asks_and_the_others_share() -> None:
    world = flying()
    leader, follower, another = (world.ask() for _ in range(3))
    for call in (leader, follower, another):
        call.send(None)
    assert isinstance(leader.now, Call)
    for call in (follower, another):
        assert isinstance(call.now, Wait)
    assert world.in_flight == 1
    leader.send(HI)
    leader.send(None)
    for call in (follower, another):
        call.send(None)
        assert call.answer is not None
        assert (call.answer.value, call.answer.source, call.answer.attempts) == ("hi", "memory", 0)
        assert call.answer.cost == 0.0
    assert world["a"].served == 1
    assert world.cx.flights is not None
    assert len(world.cx.flights) == 0


def test_an_answer_that_could_not_be_stored_is_shared_all_the_same() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.send(HI)
    leader.throw(OSError("redis is down"))
    follower.send(None)
    assert follower.answer is not None
    assert follower.answer.value == "hi"


def test_the_leaders_error_is_shared() -> None:
    world = flying("a", attempts=1)
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    error = leader.raises(ValueError, Outcome.rejected(ValueError("bad")))
    assert follower.raises(ValueError) is error
    assert world["a"].failed == 0


def test_an_exhausted_leader_is_not_asked_after_again() -> None:
    world = flying("a", "b", attempts=2)
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.send(Outcome.failed("one"))
    leader.raises(ClusterExhausted, Outcome.failed("two"))
    follower.raises(ClusterExhausted)
    assert [event.error for event in world.events if type(event).__name__ == "CallEnded"] == [
        "ClusterExhausted"
    ] * 2


def test_when_the_leader_leaves_a_follower_goes_on_alone() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.leave()
    follower.send(None)
    assert isinstance(follower.now, Call)
    follower.send(HI)
    assert follower.now == Store("k@a", labelled(b"hi", 0.0))
    follower.send(None)
    assert follower.answer is not None
    assert follower.answer.source == "miss"


def test_when_the_leaders_time_is_over_a_follower_goes_on_alone() -> None:
    world = flying(timeout=10)
    leader = world.ask()
    leader.send(None)
    world.clock.advance(9.0)
    follower = world.ask()
    follower.send(None)
    world.clock.advance(1.0)
    leader.raises(DeadlineExceeded, Outcome.failed("slow"))
    follower.send(None)
    assert isinstance(follower.now, Call)


def test_an_answer_that_is_not_whole_is_not_shared() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.send(Outcome.ok(value="cut", storable=False))
    follower.send(None)
    assert isinstance(follower.now, Call)
    follower.send(HI)
    assert follower.now == Store("k@a", labelled(b"hi", 0.0))
    follower.send(None)
    assert follower.answer is not None
    assert follower.answer.source == "miss"


def test_when_the_leader_takes_too_long_one_follower_asks_and_the_others_wait_for_it() -> None:
    world = flying(timeout=100.0)
    leader = world.ask()
    leader.send(None)
    world.clock.advance(10.0)
    followers = [world.ask() for _ in range(3)]
    for follower in followers:
        follower.send(None)
        assert isinstance(follower.now, Wait)
        assert follower.now.until == pytest.approx(1100.0)
    world.clock.advance(90.0)
    for follower in followers:
        follower.send(None)  # not landed
    first, *others = followers
    assert isinstance(first.now, Call)
    assert all(isinstance(other.now, Wait) for other in others)
    first.send(HI)
    first.send(None)
    for other in others:
        other.send(None)
        assert other.answer is not None
        assert (other.answer.value, other.answer.source) == ("hi", "memory")
    leader.send(HI)  # later, and for itself
    leader.send(None)
    assert leader.answer is not None


@pytest.mark.parametrize(
    ("timeout", "waits"), [(8.0, 4.0), (100.0, LONGEST_PATIENCE), (None, LONGEST_PATIENCE)]
)
@pytest.mark.parametrize("paused", [None, 0.5, 1.5])
def test_a_stream_whose_consumer_has_paused_is_not_waited_for(
    timeout: float | None, waits: float, paused: float | None
) -> None:
    """It may have paused for good, and be who waits here."""
    world = flying(timeout=timeout)
    leader = world.ask(stream=True)
    leader.send(None)
    assert isinstance(leader.now, Open)
    started = Started(leader.attempt, Stream(), [], None)  # type: ignore[arg-type]
    leader.send(Outcome.ok(value=started))
    assert isinstance(leader.now, Relay)
    followers = [world.ask(), world.ask()]
    for follower in followers:
        follower.send(None)
        assert isinstance(follower.now, Wait)
        assert follower.now.until == pytest.approx(1000.0 + waits)
    world.clock.advance(waits)
    started.handed = None if paused is None else world.clock.now() - paused
    for follower in followers:
        follower.send(None)  # not landed
    first, other = followers
    assert isinstance(first.now, Call if (paused or 0.0) >= PAUSED else Wait)
    assert isinstance(other.now, Wait)


def test_without_a_timeout_a_follower_waits_for_ever() -> None:
    world = flying(timeout=None)
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    assert isinstance(follower.now, Wait)
    assert follower.now.until is None


def test_the_next_call_after_a_landing_leads_its_own_flight() -> None:
    world = flying()
    first = world.ask()
    first.send(None)
    first.send(HI)
    first.send(None)
    second = world.ask()
    second.send(None)
    assert isinstance(second.now, Call)


def test_a_leader_that_leaves_while_it_stores_lets_its_followers_go() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.send(HI)
    assert isinstance(leader.now, Store)
    leader.leave()
    assert world.cx.flights is not None
    assert len(world.cx.flights) == 0
    follower.send(None)
    assert isinstance(follower.now, Call)


def test_a_follower_that_leaves_disturbs_nobody() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    follower.leave()
    leader.send(HI)
    leader.send(None)
    assert leader.answer is not None


def test_each_of_them_tells_its_own_end() -> None:
    world = flying()
    leader, follower = world.ask(), world.ask()
    leader.send(None)
    follower.send(None)
    leader.send(HI)
    leader.send(None)
    follower.send(None)
    ends = [event for event in world.events if type(event).__name__ == "CallEnded"]
    assert [(end.attempts, end.error) for end in ends] == [(1, None), (0, None)]
    assert all(end.answer.value is None for end in ends)


def test_of_the_followers_of_a_leader_that_left_one_leads_and_the_others_wait_for_it() -> None:
    world = flying()
    leader, one, other = (world.ask() for _ in range(3))
    for call in (leader, one, other):
        call.send(None)
    leader.leave()
    one.send(None)
    other.send(None)
    assert isinstance(one.now, Call)
    assert isinstance(other.now, Wait)
    assert world.in_flight == 1
    one.send(HI)
    one.send(None)
    other.send(None)
    assert other.answer is not None
    assert other.answer.value == "hi"
    assert world["a"].served == 1


def test_an_error_is_shared_only_on_the_same_terms() -> None:
    """Whoever tries more often is not failed by somebody who tried once."""
    world = flying("a", attempts=1)
    leader = world.ask()
    leader.send(None)
    world.cx = replace(world.cx, policy=world.cx.policy.but(attempts=5))
    follower = world.ask()
    follower.send(None)
    leader.raises(ConnectionError, Outcome.failed(ConnectionError("reset")))
    follower.send(None)
    assert isinstance(follower.now, Call)


@pytest.mark.parametrize(
    "other",
    [
        Request(fingerprint="f", tier="smart"),
        Request(fingerprint="f", tags=frozenset({"x"})),
        Request(fingerprint="f", model="m"),
        Request(fingerprint="f", needs=frozenset({"tools"})),
        Request(fingerprint="f", zone="eu"),
    ],
    ids=["tier", "tags", "model", "needs", "zone"],
)
def test_who_may_not_be_answered_by_the_same_endpoints_does_not_join(other: Request) -> None:
    world = flying(
        "a",
        Endpoint("b", tier="smart", tags={"x"}, metadata={"model": "m"}, zone="eu", capabilities={"tools"}),
    )
    leader = world.ask()
    leader.send(None)
    alone = world.ask(other)
    alone.send(None)
    assert isinstance(alone.now, Call)
    joins = world.ask(other)
    joins.send(None)
    assert isinstance(joins.now, Wait)
