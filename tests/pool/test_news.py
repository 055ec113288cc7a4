"""What the pool finds out by itself is told: who is back, who is warm, which level carries what."""

from __future__ import annotations

import threading

import pytest

from langchain_cluster import Endpoint, EndpointStatus, Outcome, OutlierPolicy, Request
from langchain_cluster.model.events import (
    EndpointReturned,
    EndpointWarm,
    Event,
    PanicChanged,
    StatusChanged,
    TrafficMoved,
)
from tests.pool.watched import Watched

OUTLIER = OutlierPolicy(consecutive_failures=3, ejection=60.0)


def news(watched: Watched, *kinds: type[Event]) -> list[Event]:
    told = [event for event in watched.events if type(event) in kinds]
    watched.events.clear()
    return told


def ejected() -> Watched:
    watched = Watched("a", "b", "c", outlier=OUTLIER, breaker=None)
    watched.call("a", Outcome.failed(seconds=0.1), times=3)
    assert "EndpointEjected" in watched.told()
    return watched


def test_an_ejected_endpoint_that_is_back_is_told_once_even_without_calls() -> None:
    watched = ejected()
    watched.pool.catch_up()
    assert news(watched, EndpointReturned) == []
    watched.clock.advance(100.0)
    watched.pool.catch_up()
    watched.pool.catch_up()
    assert news(watched, EndpointReturned) == [EndpointReturned(1100.0, "a")]


def test_a_call_finds_out_too() -> None:
    watched = ejected()
    watched.clock.advance(100.0)
    watched.asked(3)
    assert news(watched, EndpointReturned) == [EndpointReturned(1100.0, "a")]


def test_one_that_is_reset_is_back_and_one_that_left_is_not() -> None:
    watched = ejected()
    watched.pool.reset("a")
    assert news(watched, EndpointReturned) == [EndpointReturned(1000.0, "a")]
    watched = ejected()
    watched.pool.remove("a")
    watched.clock.advance(100.0)
    watched.pool.catch_up()
    assert news(watched, EndpointReturned) == []


def test_the_end_of_a_warm_up_is_told_once() -> None:
    watched = Watched("a", "b", slow_start=10.0)
    watched.clock.advance(100.0)
    watched.pool.add(Endpoint("c"))
    for _ in range(15):
        watched.clock.advance(1.0)
        watched.pool.catch_up()
    assert news(watched, EndpointWarm) == [EndpointWarm(1110.0, "c")]


def test_traffic_that_moves_between_levels_is_told_after_what_moved_it() -> None:
    watched = Watched("a", "b", Endpoint("s", priority=1))
    watched.pool.mark("a", healthy=False)
    (moved,) = news(watched, TrafficMoved)
    assert isinstance(moved, TrafficMoved)
    assert moved.before == ((0, 1.0), (1, 0.0))
    assert [(level, round(part, 2)) for level, part in moved.shares] == [(0, 0.7), (1, 0.3)]
    watched.pool.mark("a", healthy=True)
    (back,) = news(watched, TrafficMoved)
    assert isinstance(back, TrafficMoved)
    assert back.shares == moved.before
    watched.pool.drain("a")
    assert watched.told() == ["StatusChanged"]  # drained on purpose: half of it counts as the whole
    watched.pool.drain("b")
    assert watched.told() == ["StatusChanged", "TrafficMoved"]


def test_one_level_has_nowhere_to_move_traffic_to() -> None:
    watched = Watched("a", "b")
    watched.told()
    watched.pool.drain("a")
    watched.pool.drain("b")
    assert watched.told() == ["StatusChanged", "StatusChanged"]


def test_panic_is_told_when_it_begins_and_when_it_ends() -> None:
    watched = Watched("a", "b", "c")
    watched.pool.mark("a", healthy=False)
    assert news(watched, PanicChanged) == []
    watched.pool.mark("b", healthy=False)
    assert news(watched, PanicChanged) == [PanicChanged(1000.0, 0, True)]
    watched.pool.mark("b", healthy=True)
    assert news(watched, PanicChanged) == [PanicChanged(1000.0, 0, False)]


def test_panic_that_adds_nobody_is_none() -> None:
    watched = Watched("a")
    watched.break_("a")
    assert news(watched, PanicChanged) == []


def test_a_call_for_a_shifted_tier_waits_for_the_tier_it_goes_to() -> None:
    watched = Watched(Endpoint("a", tier="big"), Endpoint("s", tier="small"))
    watched.call("s", Outcome.throttled(5.0))
    watched.pool.shift_tier("big", to="small")
    asked = Request(tier="big")
    assert watched.pool.room(asked, now=1000.0) == (1005.0, False)
    assert watched.pool.seconds_to_cool(asked, now=1000.0) == 5.0
    assert not watched.pool.anybody(asked, now=1000.0)


def test_what_happens_while_another_thread_is_telling_is_told_after_it() -> None:
    told: list[Event] = []
    telling, go_on = threading.Event(), threading.Event()

    def slow(event: Event) -> None:
        if not telling.is_set():
            telling.set()
            go_on.wait(30.0)
        told.append(event)

    watched = Watched("a", "b")
    watched.pool._emit = slow
    other = threading.Thread(target=watched.pool.set_status, args=("a", EndpointStatus.BUSY))
    other.start()
    assert telling.wait(30.0)
    watched.pool.set_status("a", EndpointStatus.OFFLINE)  # waits for nobody
    watched.pool.mark("a", healthy=False)
    watched.pool.remove("a")
    go_on.set()
    other.join(30.0)
    names = [type(event).__name__ for event in told]
    assert names == ["StatusChanged", "StatusChanged", "HealthChanged", "EndpointLeft"]
    assert told[:2] == [
        StatusChanged(1000.0, "a", EndpointStatus.BUSY, EndpointStatus.ONLINE),
        StatusChanged(1000.0, "a", EndpointStatus.OFFLINE, EndpointStatus.BUSY),
    ]


def test_a_listener_that_raises_keeps_nobody_from_being_told_what_comes_next() -> None:
    watched = Watched("a", "b")
    told = watched.events.append

    def failing(event: Event) -> None:
        told(event)
        raise RuntimeError("no")

    watched.pool._emit = failing
    with pytest.raises(RuntimeError):
        watched.pool.set_status("a", EndpointStatus.BUSY)
    watched.pool._emit = told
    watched.pool.set_status("b", EndpointStatus.BUSY)
    assert news(watched, StatusChanged) == [
        StatusChanged(1000.0, id, EndpointStatus.BUSY, EndpointStatus.ONLINE) for id in "ab"
    ]
