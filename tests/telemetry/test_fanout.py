"""Events out to whoever listens: in order, whole, and no listener can spoil it for the others."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from langchain_cluster.model.call import Request
from langchain_cluster.model.events import CallEnded, EndpointCooling, Event, ListenerFailed
from langchain_cluster.telemetry.fanout import EventFanout


def event(n: int) -> Event:
    return EndpointCooling(float(n), "a", 1.0)


def test_everybody_hears_everything_in_order() -> None:
    fanout, one, other = EventFanout(), [], []
    fanout.subscribe(one.append)
    fanout.subscribe(other.append)
    for n in range(5):
        fanout.emit(event(n))
    assert one == other == [event(n) for n in range(5)]


def test_nobody_listening_keeps_nothing() -> None:
    fanout, heard = EventFanout(), []
    assert not fanout.heard
    fanout.emit(event(1))
    fanout.subscribe(heard.append)
    assert fanout.heard
    fanout.emit(event(2))
    assert heard == [event(2)]


def test_who_does_not_want_the_ends_of_calls_hears_all_else() -> None:
    fanout, all_but, everything = EventFanout(), [], []
    leave = fanout.subscribe(all_but.append, calls=False)
    assert not fanout.heard, "so no call builds the event of its end"
    fanout.emit(event(1))
    fanout.subscribe(everything.append)
    assert fanout.heard
    fanout.emit(ended := CallEnded(2.0, Request(), None, "abandoned"))
    fanout.emit(event(3))
    leave()
    fanout.emit(event(4))
    assert all_but == [event(1), event(3)]
    assert everything == [ended, event(3), event(4)]


def test_whoever_unsubscribes_hears_no_more() -> None:
    fanout, one, other = EventFanout(), [], []
    leave = fanout.subscribe(one.append)
    fanout.subscribe(other.append)
    fanout.emit(event(1))
    leave()
    leave()
    fanout.emit(event(2))
    assert (one, other) == ([event(1)], [event(1), event(2)])


def test_the_same_listener_may_subscribe_for_different_times() -> None:
    fanout, heard = EventFanout(), []

    def listen(told: Event) -> None:
        heard.append(told)

    fanout.subscribe(listen)()
    fanout.emit(event(1))
    fanout.subscribe(listen)
    fanout.emit(event(2))
    assert heard == [event(2)]


def test_a_listener_that_raises_becomes_an_event_for_the_others() -> None:
    fanout, heard = EventFanout(), []

    def broken(told: Event) -> None:
        raise KeyError("oh")

    fanout.subscribe(broken)
    fanout.subscribe(heard.append)
    fanout.emit(event(1))
    (first, failed) = heard
    assert first == event(1)
    assert isinstance(failed, ListenerFailed)
    assert (failed.at, failed.error) == (1.0, "KeyError")
    assert failed.listener.endswith("broken")
    fanout.emit(event(2))
    assert len(heard) == 4


def test_a_listener_without_a_name_is_told_by_its_kind() -> None:
    class Broken:
        def __call__(self, told: Event) -> None:
            raise OSError

    fanout, heard = EventFanout(), []
    fanout.subscribe(Broken())
    fanout.subscribe(heard.append)
    fanout.emit(event(1))
    assert heard[1] == ListenerFailed(1.0, "Broken", "OSError")


def test_an_event_that_a_listener_causes_comes_after_the_one_it_heard() -> None:
    fanout, heard = EventFanout(), []

    def causes(told: Event) -> None:
        if told.at < 3:
            fanout.emit(event(int(told.at) + 1))

    fanout.subscribe(causes)
    fanout.subscribe(heard.append)
    fanout.emit(event(0))
    assert heard == [event(n) for n in range(4)]


def test_a_listener_that_must_not_be_survived_is_not_and_the_next_event_is_told() -> None:
    fanout, heard = EventFanout(), []

    def stops(told: Event) -> None:
        if told.at == 1.0:
            raise KeyboardInterrupt

    fanout.subscribe(stops)
    fanout.subscribe(heard.append)
    with pytest.raises(KeyboardInterrupt):
        fanout.emit(event(1))
    fanout.emit(event(2))
    assert heard == [event(2)]


def test_of_many_threads_nothing_is_lost_nothing_doubled_and_each_ones_order_kept() -> None:
    for _ in range(10):
        fanout, heard = EventFanout(), []
        telling = [0, 0]

        def listen(told: Event, heard: list[Event] = heard, telling: list[int] = telling) -> None:
            telling[0] += 1
            telling[1] = max(telling)
            heard.append(told)
            telling[0] -= 1

        fanout.subscribe(listen)
        start = Barrier(8)

        def tell(name: int, fanout: EventFanout = fanout, start: Barrier = start) -> None:
            start.wait()
            for n in range(200):
                fanout.emit(EndpointCooling(float(n), str(name), 1.0))

        threads = [Thread(target=tell, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(heard) == 1_600
        for name in range(8):
            mine = [e.at for e in heard if e.endpoint == str(name)]  # type: ignore[attr-defined]
            assert mine == sorted(mine)
        assert telling == [0, 1]  # one at a time
