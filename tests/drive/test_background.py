"""A plan beside the calls: on its own thread, until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import Event
from time import monotonic, sleep
from typing import Any

from langchain_cluster.drive.background import Background
from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.plan.effects import Fetch, Lookup, Plan, Sleep


def eventually(holds: Callable[[], bool], within: float = 5.0) -> None:
    until = monotonic() + within
    while not holds():
        assert monotonic() < until, "it never happened"
        sleep(0.001)


class Source:
    """Rosters by a script; an exception is raised, an event is waited for."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[int | None] = []
        self.blocked = Event()

    def fetch(self, after: int | None) -> Roster:
        self.asked.append(after)
        item = self.script.pop(0)
        if isinstance(item, Event):
            self.blocked.set()
            item.wait(5.0)
            return Roster((), 99)
        if isinstance(item, BaseException):
            raise item
        return item

    async def afetch(self, after: int | None) -> Roster:
        return self.fetch(after)


def roster(revision: int) -> Roster:
    return Roster((Endpoint("a"),), revision)


def test_it_performs_what_the_plan_asks_for_on_its_own_thread() -> None:
    source, seen, ended = Source(roster(1), roster(2)), [], Event()

    def plan() -> Plan[None]:
        seen.append(threading.current_thread().name)
        for after in (None, 1):
            got = yield from Fetch(source, after)
            seen.append(got.revision)
        nothing = yield from Sleep(0.0)
        seen.append(nothing)
        ended.set()

    work = Background(plan(), "watcher")
    assert ended.wait(5.0)
    assert work.stop(5.0)
    assert seen == ["watcher", 1, 2, None]
    assert source.asked == [None, 1]


def test_what_a_source_raises_is_thrown_into_the_plan() -> None:
    error, caught, ended = OSError("down"), [], Event()

    def plan() -> Plan[None]:
        try:
            yield from Fetch(Source(error), None)
        except OSError as raised:
            caught.append(raised)
        yield from Sleep(0.0)
        ended.set()

    work = Background(plan(), "watcher")
    assert ended.wait(5.0)
    assert caught == [error]
    assert work.stop(5.0)


def test_a_plan_that_ends_on_a_failure_ends_quietly() -> None:
    def plan() -> Plan[None]:
        try:
            yield from Fetch(Source(OSError()), None)
        except OSError:
            return

    work = Background(plan(), "watcher")
    eventually(lambda: not work._thread.is_alive())
    assert work.stop(5.0)


def test_a_plan_that_asks_for_nothing_ends_at_once() -> None:
    def plan() -> Plan[None]:
        return
        yield

    work = Background(plan(), "watcher")
    eventually(lambda: not work._thread.is_alive())
    assert work.stop()


def test_stopping_ends_a_pause_at_once_and_closes_the_plan() -> None:
    closed, paused = Event(), Event()

    def plan() -> Plan[None]:
        try:
            paused.set()
            yield from Sleep(3600.0)
            raise AssertionError("it must not go on after it was stopped")
        finally:
            closed.set()

    work = Background(plan(), "watcher")
    assert paused.wait(5.0)
    begin = monotonic()
    assert work.stop(5.0)
    assert monotonic() - begin < 2.0
    assert closed.is_set()


def test_stopping_waits_no_longer_than_it_is_told_for_a_source_that_blocks() -> None:
    release, closed = Event(), Event()
    source = Source(release)

    def plan() -> Plan[None]:
        try:
            yield from Fetch(source, None)
            raise AssertionError("it must not go on after it was stopped")
        finally:
            closed.set()

    work = Background(plan(), "watcher")
    assert source.blocked.wait(5.0)
    assert not work.stop(0.01)
    assert not closed.is_set()
    release.set()
    assert work.stop(5.0)
    assert closed.is_set()


def test_it_may_be_stopped_from_its_own_thread() -> None:
    stopped, ready, ended = [], Event(), Event()

    def plan() -> Plan[None]:
        try:
            yield from Sleep(0.0)
            ready.wait(5.0)
            stopped.append(work.stop(5.0))
            yield from Sleep(3600.0)
        finally:
            ended.set()

    work = Background(plan(), "watcher")
    ready.set()
    assert ended.wait(5.0)
    assert stopped == [True]


def test_what_background_work_may_not_ask_for_is_an_error_in_the_plan() -> None:
    caught, ended = [], Event()

    def plan() -> Plan[None]:
        try:
            yield from Lookup(("k",))
        except TypeError as error:
            caught.append(str(error))
        ended.set()

    Background(plan(), "watcher")
    assert ended.wait(5.0)
    assert caught == [f"background work may not ask for {Lookup(('k',))!r}"]


def test_its_thread_is_a_daemon_with_its_name() -> None:
    def plan() -> Plan[None]:
        yield from Sleep(3600.0)

    work = Background(plan(), "langchain-cluster-watch")
    (thread,) = [t for t in threading.enumerate() if t.name == "langchain-cluster-watch"]
    assert thread.daemon
    assert work.stop(5.0)
    assert not thread.is_alive()
