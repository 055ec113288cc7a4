"""A call for many values, stepped: what is known is looked up, the rest is asked for and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from langchain_cluster.guard.flights import Flights
from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.plan.effects import Call, Found, LookupEach, StoreEach, Wait
from tests.plan.stepping import World


class Lists:
    """Lists of numbers as bytes."""

    def encode(self, value: Any) -> bytes:
        return orjson.dumps(value)

    def decode(self, raw: bytes) -> Any:
        return orjson.loads(raw)


class Letters:
    """A request's payload is a text, its parts are the letters, their values numbers."""

    def keys(self, request: Request) -> tuple[str, ...]:
        return tuple(request.payload) if request.fingerprint is not None else ()

    def only(self, request: Request, places: Sequence[int]) -> Request:
        return replace(request, payload="".join(request.payload[place] for place in places))

    def encode(self, value: Any) -> bytes:
        if value < 0:
            raise TypeError("not to be kept")
        return str(value).encode()

    def decode(self, request: Request, raw: bytes) -> Any:
        return int(raw)

    def agree(self, known: Any, fresh: Any) -> bool:
        return (known < 100) is (fresh < 100)


def world(flights: Flights | None = None, **policy: Any) -> World:
    made = World("a", "b", cache=True, flights=flights)
    made.cx.policy = made.cx.policy.but(**policy)
    made.cx.codec, made.cx.parts = Lists(), Letters()
    return made


def ask(letters: str, made: World, fingerprint: str | None = "f") -> Any:
    return made.ask(Request(payload=letters, fingerprint=fingerprint))


def test_what_is_known_is_not_asked_for() -> None:
    made = world()
    call = ask("abc", made)
    assert call.now == LookupEach(("a", "b", "c"))
    assert isinstance(call.send([None, Found(b"2", "memory"), None]), Call)
    assert call.attempt.request.payload == "ac"
    assert call.send(Outcome.ok(value=[1, 3])) == StoreEach({"a": b"1", "c": b"3"})
    call.send(None)
    assert (call.answer.value, call.answer.source, call.answer.attempts) == ([1, 2, 3], "miss", 1)
    assert made.ended.answer is not None


def test_a_call_whose_parts_are_all_known_asks_nobody() -> None:
    made = world()
    call = ask("ab", made)
    call.send([Found(b"1", "redis"), Found(b"2", "redis")])
    assert (call.answer.value, call.answer.source, call.answer.cost) == ([1, 2], "redis", 0.0)
    assert (call.answer.endpoint, call.answer.attempts) == (None, 0)


def test_a_call_that_is_not_cacheable_is_asked_at_once() -> None:
    for made, fingerprint in ((world(), None), (world(cache=False), "f")):
        call = ask("ab", made, fingerprint)
        assert call.attempt.request.payload == "ab"
        call.send(Outcome.ok(value=[1, 2]))
        assert (call.answer.value, call.answer.source) == ([1, 2], "off")


def test_a_refresh_looks_nothing_up_and_keeps_what_came() -> None:
    call = ask("ab", world(cache="refresh"))
    assert isinstance(call.now, Call)
    assert call.send(Outcome.ok(value=[1, 2])) == StoreEach({"a": b"1", "b": b"2"})


def test_a_part_that_cannot_be_read_is_asked_for_and_told_once() -> None:
    made = world()
    call = ask("abc", made)
    call.send([Found(b"x", "memory"), Found(b"y", "memory"), Found(b"3", "memory")])
    assert call.attempt.request.payload == "ab"
    assert made.cache_failures == [("lookup", "ValueError")]


def test_a_cache_that_breaks_is_a_miss() -> None:
    made = world()
    call = ask("ab", made)
    call.throw(OSError("gone"))
    assert call.attempt.request.payload == "ab"
    call.send(Outcome.ok(value=[1, 2]))
    call.throw(OSError("gone"))
    assert call.answer.value == [1, 2]
    assert made.cache_failures == [("lookup", "OSError"), ("store", "OSError")]


def test_old_values_that_do_not_agree_with_fresh_ones_are_asked_for_anew() -> None:
    made = world()
    call = ask("ab", made)
    call.send([Found(b"500", "memory"), None])
    call.send(Outcome.ok(value=[2]))
    assert isinstance(call.send(None), Call)
    assert call.attempt.request.payload == "ab"
    call.send(Outcome.ok(value=[1, 2]))
    call.send(None)
    assert call.answer.value == [1, 2]
    assert made.cache_failures == [("lookup", "ValueError")]


def test_what_is_not_to_be_kept_is_not() -> None:
    call = ask("a", world())
    call.send([None])
    call.send(Outcome.ok(value=[1], storable=False))
    assert call.now is None
    assert call.answer.value == [1]


def test_who_asks_for_the_same_parts_meanwhile_waits_for_them() -> None:
    flights = Flights()
    made = world(flights)
    first, second = ask("ab", made), ask("cb", made)
    first.send([None, Found(b"2", "memory")])
    second.send([Found(b"3", "memory"), Found(b"2", "memory")])
    third = ask("ac", made)
    third.send([None, Found(b"3", "memory")])
    assert isinstance(third.now, Wait), "it lacks what the first is asking for"
    first.send(Outcome.ok(value=[1]))
    first.send(None)
    third.send(None)
    assert (first.answer.value, second.answer.value, third.answer.value) == ([1, 2], [3, 2], [1, 3])
    assert third.answer.endpoint is None
    assert len(flights) == 0


def test_a_call_that_is_part_of_a_longer_work_has_what_is_left_of_its_time() -> None:
    made = world(timeout=10.0, cache=False)
    made.cx.began = 992.0  # it is 1000 now
    call = ask("ab", made)
    assert call.attempt.limits.until == 1002.0
