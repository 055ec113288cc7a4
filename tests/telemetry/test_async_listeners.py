"""Events for coroutines: async listeners and `async for`, told from any thread, in order and whole."""

from __future__ import annotations

import asyncio
import gc
from threading import Thread

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.errors import ClusterError, ConfigError
from langchain_cluster.model.events import (
    EndpointCooling,
    EndpointJoined,
    EndpointLeft,
    Event,
    ListenerFailed,
)
from langchain_cluster.telemetry import mailbox
from langchain_cluster.telemetry.fanout import EventFanout
from langchain_cluster.testing import ScriptedModel


def event(n: int) -> Event:
    return EndpointCooling(float(n), "a", 1.0)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_async_listener_hears_everything_in_order() -> None:
    fanout, heard = EventFanout(), []

    async def listen(told: Event) -> None:
        await asyncio.sleep(0)  # the next event waits for this one
        heard.append(told)

    leave = fanout.subscribe(listen)
    for n in range(20):
        fanout.emit(event(n))
    for _ in range(100):
        await asyncio.sleep(0)
    assert heard == [event(n) for n in range(20)]
    leave()
    fanout.emit(event(99))
    await settle()
    assert event(99) not in heard
    assert not fanout.heard


async def test_an_object_with_an_async_call_is_an_async_listener() -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[Event] = []

        async def __call__(self, told: Event) -> None:
            self.heard.append(told)

    fanout, listener = EventFanout(), Listener()
    leave = fanout.subscribe(listener)
    fanout.emit(event(1))
    await settle()
    assert listener.heard == [event(1)]
    leave()


async def test_what_happens_on_other_threads_is_heard_on_the_loop() -> None:
    fanout, heard = EventFanout(), []
    done = asyncio.Event()

    async def listen(told: Event) -> None:
        heard.append(told)
        if len(heard) == 400:
            done.set()

    leave = fanout.subscribe(listen)

    def emit_all() -> None:
        for n in range(100):
            fanout.emit(event(n))

    threads = [Thread(target=emit_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(done.wait(), 10.0)
    for thread in threads:
        thread.join()
    assert sorted(e.at for e in heard) == sorted(float(n) for n in range(100) for _ in range(4))
    leave()


async def test_an_async_listener_that_raises_becomes_an_event_and_goes_on() -> None:
    fanout = EventFanout()
    told: list[Event] = []
    heard: list[Event] = []
    fanout.subscribe(told.append)

    async def broken(happened: Event) -> None:
        heard.append(happened)
        raise KeyError("no")

    leave = fanout.subscribe(broken)
    fanout.emit(event(1))
    fanout.emit(event(2))
    await settle()
    failures = [e for e in told if isinstance(e, ListenerFailed)]
    assert [(f.at, f.error) for f in failures] == [(1.0, "KeyError"), (2.0, "KeyError")]
    assert all("broken" in failure.listener for failure in failures)
    leave()


def test_an_async_listener_without_a_loop_is_refused() -> None:
    async def listen(told: Event) -> None: ...

    with pytest.raises(ConfigError, match="running event loop"):
        EventFanout().subscribe(listen)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        EventFanout().subscribe(3)  # type: ignore[arg-type]


async def test_iterating_hears_everything_from_then_on() -> None:
    fanout = EventFanout()
    fanout.emit(event(0))
    stream = aiter(fanout)
    for n in range(1, 4):
        fanout.emit(event(n))
    assert [await anext(stream) for _ in range(3)] == [event(n) for n in range(1, 4)]
    await stream.aclose()
    assert not fanout.heard
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_iterating_waits_for_what_happens_elsewhere() -> None:
    fanout = EventFanout()
    stream = aiter(fanout)
    waiting = asyncio.ensure_future(anext(stream))
    await settle()
    assert not waiting.done()
    thread = Thread(target=fanout.emit, args=(event(7),))
    thread.start()
    assert await asyncio.wait_for(waiting, 10.0) == event(7)
    thread.join()
    await stream.aclose()


async def test_breaking_out_of_the_loop_ends_the_subscription() -> None:
    fanout = EventFanout()
    fanout.emit(event(0))

    async def first() -> Event:
        async for told in fanout:
            return told
        raise AssertionError("nothing happened")

    reading = asyncio.create_task(first())
    await settle()
    fanout.emit(event(1))
    assert await reading == event(1)
    del reading
    gc.collect()
    assert not fanout.heard


async def test_a_reader_that_is_too_far_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MOST_WAITING", 3)
    fanout = EventFanout()
    stream = aiter(fanout)
    for n in range(5):
        fanout.emit(event(n))
    assert [await anext(stream) for _ in range(3)] == [event(n) for n in range(3)]
    with pytest.raises(ClusterError, match="not read in time"):
        await anext(stream)


def test_a_closed_loop_is_no_reason_to_fail() -> None:
    fanout, heard = EventFanout(), []

    async def subscribe() -> None:
        async def listen(told: Event) -> None:
            heard.append(told)

        fanout.subscribe(listen)

    asyncio.run(subscribe())
    fanout.emit(event(1))
    fanout.emit(event(2))
    assert heard == []


async def test_membership_is_heard_through_the_cluster_until_it_closes() -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))])
    heard: list[tuple[type[Event], str]] = []

    async def listen() -> None:
        async for told in llm.cluster.events:
            if isinstance(told, EndpointJoined | EndpointLeft):
                heard.append((type(told), told.endpoint.id))

    async with llm.cluster:
        listening = asyncio.create_task(listen())
        await settle()
        llm.cluster.pool.add(Endpoint("b", ScriptedModel("ho")))
        llm.cluster.pool.remove("a")
    await asyncio.wait_for(listening, 10.0)
    assert heard == [(EndpointJoined, "b"), (EndpointLeft, "a")]


async def test_who_listens_to_a_closed_cluster_ends_at_once() -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))])
    async with llm.cluster:
        pass
    heard: list[Event] = []

    async def listen(told: Event) -> None:
        heard.append(told)

    async def read() -> None:
        async for told in llm.cluster.events:
            heard.append(told)

    llm.cluster.events.subscribe(listen)
    await asyncio.wait_for(read(), 10.0)
    llm.cluster.pool.add(Endpoint("b", ScriptedModel("ho")))
    await settle()
    assert heard == []
