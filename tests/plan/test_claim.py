"""Of many processes one asks: who claims the question, who waits and how long, and what ends a claim."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from langchain_cluster.errors import DeadlineExceeded
from langchain_cluster.guard.flights import Flights
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.model.label import labelled
from langchain_cluster.plan.claim import FIRST, FORGIVEN, GROWTH, LONGEST
from langchain_cluster.plan.effects import Call, Claimed, ClaimQuestion, Lookup, Open, Relay, Sleep, Store
from langchain_cluster.plan.renew import renew
from langchain_cluster.plan.times import LONGEST_ABROAD
from tests.plan.stepping import Stepped, World

HI = Outcome.ok(value="hi", seconds=0.1)
OTHERS = Claimed()
NEAR, FAR, CLAIM = Lookup(("k",), near=True), Lookup(("k",)), ClaimQuestion(("k",))


class Held:
    """A claim, and how it ended."""

    def __init__(self) -> None:
        self.ended: list[bool] = []

    def end(self, *, shared: bool) -> None:
        self.ended.append(shared)


def fleet(*endpoints: str, **policy: Any) -> World:
    world = World(*(endpoints or ("a",)), cache=True, flights=Flights(), **policy)
    world.cx.claims = True
    return world


def claiming(world: World, **options: Any) -> Stepped:
    """A call that has found nothing, and claims."""
    call = world.ask(**options)
    assert call.now == NEAR
    call.send(None)
    assert call.now == FAR
    call.send(None)
    assert call.now in (CLAIM, ClaimQuestion(("k",), streaming=True))
    return call


def test_whoever_has_the_claim_asks_stores_and_gives_it_back() -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(Claimed(claim=held))
    assert isinstance(call.now, Call)
    call.send(HI)
    assert call.now == Store("k@a", labelled(b"hi", 0.0))
    assert held.ended == []  # who looks now must find somebody asking, or the answer
    call.send(None)
    assert call.answer is not None
    assert (call.answer.value, call.answer.source) == ("hi", "miss")
    assert held.ended == [True]


def test_the_others_look_again_ever_more_slowly_until_the_answer_is_there() -> None:
    world = fleet()
    call = claiming(world)
    pauses = []
    for _ in range(10):
        call.send(OTHERS)
        pauses.append(call.pause())
        assert call.now == CLAIM
    assert pauses[:3] == pytest.approx([FIRST, FIRST * GROWTH, FIRST * GROWTH**2])
    assert max(pauses) == pauses[-1] == LONGEST
    call.send(Claimed(labelled(b"hi", 0.0), "redis"))
    assert call.answer is not None
    assert (call.answer.value, call.answer.source, call.answer.attempts) == ("hi", "redis", 0)
    assert call.answer.seconds == pytest.approx(sum(pauses))
    assert world["a"].served == 0


def test_when_whoever_asked_has_died_one_of_the_others_asks() -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(OTHERS)
    call.pause()
    call.send(Claimed(claim=held))
    call.send(HI)
    call.send(None)
    assert call.answer is not None
    assert held.ended == [True]


def test_an_answer_that_came_between_looking_and_claiming_is_taken_and_the_claim_given_back() -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(Claimed(b"hi", "redis", held))
    assert call.answer is not None
    assert call.answer.source == "redis"
    assert held.ended == [True]


def test_when_there_is_nothing_to_share_nobody_waits() -> None:
    world = fleet()
    call = claiming(world)
    call.send(OTHERS)
    call.pause()
    call.send(Claimed(alone=True))
    assert isinstance(call.now, Call)


@pytest.mark.parametrize(
    "outcome", [Outcome.ok(value="cut", storable=False), Outcome.rejected("no"), Outcome.ok(value=object())]
)
def test_who_has_nothing_to_share_says_so(outcome: Outcome) -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(Claimed(claim=held))
    try:
        call.send(outcome)
    except RuntimeError:
        pass
    assert held.ended == [False]


def test_who_could_not_store_its_answer_has_nothing_to_share() -> None:
    for failed in (("ConnectionError",), ConnectionError()):
        world, held = fleet(), Held()
        call = claiming(world)
        call.send(Claimed(claim=held))
        call.send(HI)
        call.send(failed) if isinstance(failed, tuple) else call.throw(failed)
        assert call.answer is not None
        assert held.ended == [False]


def test_who_leaves_lets_another_ask() -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(Claimed(claim=held))
    call.plan.close()
    assert held.ended == [True]
    assert world.in_flight == 0


def test_nobody_waits_longer_than_a_part_of_his_time() -> None:
    world = fleet(timeout=10.0)
    call = claiming(world)
    call.send(OTHERS)
    while isinstance(call.now, Sleep):
        call.pause()
        if call.now == CLAIM:
            call.send(OTHERS)
    assert isinstance(call.now, Call)
    assert world.clock.now() - 1000.0 == pytest.approx(9.0, abs=LONGEST)


def test_nobody_waits_long_for_a_stream_that_goes_at_its_readers_pace() -> None:
    world = fleet(timeout=None)
    call = claiming(world)
    while call.now == CLAIM:
        call.send(Claimed(streaming=True))
        if isinstance(call.now, Sleep):
            call.pause()
    assert isinstance(call.now, Call)
    assert world.clock.now() - 1000.0 == pytest.approx(LONGEST_ABROAD, abs=LONGEST)


@pytest.mark.parametrize(("timeout", "claims"), [(1.0, False), (60.0, True)])
def test_who_has_little_time_and_has_waited_in_vain_does_not_claim(timeout: float, claims: bool) -> None:
    world = fleet(timeout=timeout)
    now = count(1000.0, 0.01)
    world.cx.now = lambda: next(now)  # time passes with every look at the clock
    call = world.ask()
    call.send(None)
    assert call.now == FAR
    call.throw(TimeoutError())
    assert (call.now == CLAIM) is claims


@pytest.mark.parametrize("timeout", [60.0, None])
def test_who_has_seen_another_ask_looks_on_for_a_while_though_the_store_fails(timeout: float | None) -> None:
    world = fleet(timeout=timeout)
    call = claiming(world)
    call.send(OTHERS)
    call.pause()
    call.throw(ConnectionError())
    call.pause()
    call.send(OTHERS)  # it is back
    call.pause()
    seen = world.clock.now()
    while call.now == CLAIM:
        call.throw(ConnectionError())
        if isinstance(call.now, Sleep):
            call.pause()
    assert isinstance(call.now, Call)
    assert world.clock.now() - seen == pytest.approx(FORGIVEN, abs=2 * LONGEST)


def test_a_store_that_is_away_keeps_nobody_from_asking() -> None:
    world = fleet()
    call = claiming(world)
    call.throw(ConnectionError())
    assert isinstance(call.now, Call)
    assert world.cache_failures == [("claim", "ConnectionError")]


def test_where_nobody_claims_everybody_asks() -> None:
    world = fleet()
    call = claiming(world)
    call.send(None)
    assert isinstance(call.now, Call)


def test_bytes_that_nobody_can_read_are_asked_for_by_whoever_has_the_claim() -> None:
    world, held = fleet(), Held()
    call = claiming(world)
    call.send(Claimed(b"broken", "redis", held))
    assert isinstance(call.now, Call)
    assert world.cache_failures == [("lookup", "ValueError")]
    call.send(HI)
    call.send(None)
    assert held.ended == [True]


def test_a_stream_claims_as_one_and_gives_back_when_it_is_stored() -> None:
    world, held = fleet(), Held()
    call = claiming(world, stream=True)
    assert call.now == ClaimQuestion(("k",), streaming=True)
    call.send(Claimed(claim=held))
    assert isinstance(call.now, Open)
    call.plan.close()
    assert held.ended == [True]


def test_a_stream_that_waited_hands_the_answer_out() -> None:
    call = claiming(fleet(), stream=True)
    call.send(Claimed(b"hi", "redis"))
    assert call.answer is not None
    assert not call.answer.delivered
    assert not isinstance(call.now, Relay)


def test_a_refresh_asks_whatever_others_do() -> None:
    world = fleet()
    world.cx.policy = world.cx.policy.but(cache="refresh")
    assert isinstance(world.ask().now, Call)


def test_identical_calls_of_one_process_look_and_claim_once() -> None:
    world = fleet()
    first = claiming(world)
    second = world.ask()
    assert second.now == NEAR
    second.send(None)
    first.send(Claimed(b"hi", "redis"))
    assert first.answer is not None
    second.send(None)  # it has landed
    assert second.answer is not None
    assert (second.answer.value, second.answer.source) == ("hi", "memory")


# -- asking anew ----------------------------------------------------------------------------------


def renewing(world: World) -> Stepped:
    return Stepped(world, renew(Request(fingerprint="f"), world.cx))


def test_an_answer_is_asked_anew_by_whoever_has_the_claim() -> None:
    world, held = fleet(fresh_for=10.0), Held()
    world.cx.wall = world.clock.now
    old = labelled(b"old", 980.0)
    call = renewing(world)
    assert call.now == CLAIM
    call.send(Claimed(old, "redis", held))
    assert isinstance(call.now, Call)
    call.send(HI)
    assert call.now == Store("k@a", labelled(b"hi", 1000.0))
    call.send(None)
    assert held.ended == [True]


@pytest.mark.parametrize("at", [None, 995.0])
def test_what_another_asks_or_has_asked_anew_is_left_to_it(at: float | None) -> None:
    world, held = fleet(fresh_for=10.0), Held()
    world.cx.wall = world.clock.now
    call = renewing(world)
    call.send(OTHERS if at is None else Claimed(labelled(b"new", at), "redis", held))
    assert call.now is None
    assert call.answer is None
    assert held.ended == ([] if at is None else [True])


def test_what_nobody_can_read_is_asked_anew() -> None:
    world, held = fleet(fresh_for=10.0), Held()
    call = renewing(world)
    call.send(Claimed(b"\xfe", "redis", held))
    assert isinstance(call.now, Call)


def test_what_nobody_can_age_is_asked_anew_as_well() -> None:
    world, held = fleet(fresh_for=10.0), Held()
    call = renewing(world)
    call.send(Claimed(b"hi", "redis", held))
    assert isinstance(call.now, Call)


def test_where_nobody_claims_each_asks_anew_and_what_has_no_key_is_not_asked() -> None:
    world = fleet(fresh_for=10.0)
    call = renewing(world)
    call.throw(ConnectionError())
    assert isinstance(call.now, Call)
    world.cx.claims = False
    assert isinstance(renewing(world).now, Call)
    assert Stepped(world, renew(Request(), world.cx)).now is None


def test_a_call_without_time_leaves_its_claim_to_another() -> None:
    world, held = fleet(timeout=5.0), Held()
    call = claiming(world)
    call.send(Claimed(claim=held))
    world.clock.advance(6.0)
    call.raises(DeadlineExceeded, Outcome.failed("late"))
    assert held.ended == [True]
