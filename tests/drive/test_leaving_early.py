"""Callers leave when they like: by cancelling, breaking off, timing out, raising. Nothing is left behind.

A thousand calls and a thousand streams over real sockets, left at random points. Afterwards nothing is
in flight, nobody is blamed, and threads, tasks and sockets are as many as before.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from typing import Any

import pytest

pytest.importorskip("langchain_anthropic")
pytest.importorskip("langchain_openai")

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import Field

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, HedgePolicy, Policy, StreamInterrupted
from langchain_cluster.cache import MemoryCache
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from langchain_cluster.testing.simulated import Uniform
from tests.faces.faces import Watcher

TOGETHER = 50  # callers at a time


class Left(Exception):
    """Raised by a consumer in the middle of a stream."""


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(seed=1) as server:
        server.behave(
            latency=Uniform(0.0, 0.01),
            first_token=Uniform(0.0, 0.01),
            between_tokens=Uniform(0.0, 0.004),
            tokens=8,
        )
        yield server


def models(server: SimulatedServer, test: str) -> list[Any]:
    # An address of its own for each test: ChatOpenAI shares HTTP clients by address, and they are closed.
    return [
        ChatOpenAI(base_url=server.openai_url(f"{test}-0"), model="m", api_key="-"),
        ChatOpenAI(base_url=server.openai_url(f"{test}-1"), model="m", api_key="-"),
        ChatAnthropic(base_url=server.anthropic_url(f"{test}-2"), model="m", api_key="-", max_tokens=100),
    ]


def over(models: list[Any], **options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [Endpoint(f"e{n}", model) for n, model in enumerate(models)],
        cache=MemoryCache(),
        policy=Policy(timeout=30.0, idle_timeout=5.0),
        seed=2,
        **options,
    )


def sockets() -> int:
    """Open sockets of this process; other files come and go with imports and logging."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:
            pass  # it was the directory's own
    return count


def threads() -> set[threading.Thread]:
    """The library's; whoever compares looks at them before, since other tests have theirs."""
    return {t for t in threading.enumerate() if t.name.startswith("langchain-cluster")}


def eventually(condition: Callable[[], bool], within: float = 10.0) -> bool:
    until = time.monotonic() + within
    while not (held := condition()) and time.monotonic() < until:
        time.sleep(0.005)
    return held


def at_rest(server: SimulatedServer) -> bool:
    """Whether nobody is connected any more. An SDK's response may hang in a cycle until collected."""
    gc.collect()
    return server.wait_until(lambda: server.in_flight() == 0 and server.connections == 0, within=30.0)


def nobody_is_blamed(llm: ClusteredLLM) -> None:
    cluster = llm.cluster
    assert cluster.in_flight == 0
    assert len(cluster._flights) == 0
    for member in cluster.pool:
        assert member.in_flight == 0
        assert member.failed == 0
        assert member.breaker_state is BreakerState.CLOSED
        assert not member.breaker._probes


async def close_clients(models: list[Any]) -> None:
    """The SDKs keep idle connections open for the next call; that is theirs, and ends with them."""
    for model in models:
        for name in ("root_client", "_client"):
            client = getattr(model, name, None)
            if client is not None:
                client.close()
        for name in ("root_async_client", "_async_client"):
            client = getattr(model, name, None)
            if client is not None:
                await client.close()


@contextmanager
def complaints() -> Iterator[list[Any]]:
    """What the running loop would otherwise only log: destroyed tasks, errors nobody fetched."""
    heard: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    yield heard
    gc.collect()


async def no_tasks() -> bool:
    """Only this task is left, once the loop has closed what was collected."""
    for _ in range(200):
        if asyncio.all_tasks() == {asyncio.current_task()}:
            return True
        await asyncio.sleep(0.01)
    return False


# -- calls ----------------------------------------------------------------------------------------------


def test_a_thousand_cancelled_calls_leave_nothing_behind(server: SimulatedServer) -> None:
    rng = random.Random(11)
    before, others = sockets(), threads()
    ended: dict[str, int] = {"cancelled": 0, "answered": 0}
    made = models(server, "calls")
    llm = over(made)

    async def call(n: int, longest: float) -> None:
        # Some ask the same at the same time: leaders of a flight leave, and followers too.
        task = asyncio.create_task(llm.ainvoke(f"question {n % 700}", config(rng)))
        await asyncio.sleep(rng.uniform(0.0, longest))
        task.cancel()
        try:
            await task
            ended["answered"] += 1
        except asyncio.CancelledError:
            ended["cancelled"] += 1

    async def all_of_them() -> None:
        with complaints() as heard:
            longest = 0.1
            for start in range(0, 1000, TOGETHER):
                answered = ended["answered"]
                await asyncio.gather(*(call(n, longest) for n in range(start, start + TOGETHER)))
                # The points are to be anywhere in a call, however long it takes on this machine now.
                longest *= 0.7 if ended["answered"] - answered > TOGETHER / 2 else 1.3
            nobody_is_blamed(llm)
            assert await no_tasks()
            await close_clients(made)
        assert not heard

    asyncio.run(all_of_them())
    assert sum(ended.values()) == 1000
    assert ended["cancelled"] > 200, "they left in the middle"
    assert ended["answered"] > 50, "and not all of them at its very beginning"
    stats = llm.cluster.stats()
    assert stats["failed"] == 0
    assert stats["answered"] + stats["abandoned"] == stats["calls"]
    assert llm.cluster.close()
    assert eventually(lambda: threads() <= others)
    assert at_rest(server)
    assert eventually(lambda: sockets() <= before)


def config(rng: random.Random) -> dict[str, Any]:
    """Watched or not: the two take different ways through LangChain."""
    return {"callbacks": [Watcher()]} if rng.random() < 0.3 else {}


# -- streams --------------------------------------------------------------------------------------------


async def by_break(stream: Any, point: float) -> None:
    count = int(point * 8)
    async for _ in stream:
        count -= 1
        if count <= 0:
            break


async def by_aclose(stream: Any, point: float) -> None:
    count = int(point * 8)
    async for _ in stream:
        count -= 1
        if count <= 0:
            await stream.aclose()
            return


async def by_exception(stream: Any, point: float) -> None:
    count = int(point * 8)
    try:
        async with aclosing(stream):
            async for _ in stream:
                count -= 1
                if count <= 0:
                    raise Left
    except Left:
        pass


async def by_timeout(stream: Any, point: float) -> None:
    try:
        async with asyncio.timeout(point * 0.05), aclosing(stream):
            async for _ in stream:
                pass
    except TimeoutError:
        pass


async def by_cancel(stream: Any, point: float) -> None:
    async def consume() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(point * 0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


async def by_dropping_the_pending_step(stream: Any, point: float) -> None:
    step = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(point * 0.02)
    step.cancel()
    try:
        await step
    except asyncio.CancelledError:
        pass


async def by_never_beginning(stream: Any, point: float) -> None:
    del stream


WAYS_OUT = [
    by_break,
    by_aclose,
    by_exception,
    by_timeout,
    by_cancel,
    by_dropping_the_pending_step,
    by_never_beginning,
]


def test_a_thousand_abandoned_async_streams_leave_nothing_behind(server: SimulatedServer) -> None:
    rng = random.Random(12)
    before, others = sockets(), threads()
    made = models(server, "astreams")
    llm = over(made)

    async def leave(n: int) -> None:
        way = WAYS_OUT[n % len(WAYS_OUT)]
        # Nothing but the way out holds the stream, as in a program that breaks out of a loop.
        await way(llm.astream(f"question {n % 700}", config(rng)), rng.random())

    async def all_of_them() -> None:
        with complaints() as heard:
            for start in range(0, 1000, TOGETHER):
                await asyncio.gather(*(leave(n) for n in range(start, start + TOGETHER)))
            gc.collect()
            assert await no_tasks()
            nobody_is_blamed(llm)
            await close_clients(made)
        assert not heard

    asyncio.run(all_of_them())
    stats = llm.cluster.stats()
    assert stats["failed"] == 0
    assert stats["abandoned"] > 300
    assert llm.cluster.close()
    assert eventually(lambda: threads() <= others)
    assert at_rest(server)
    assert eventually(lambda: sockets() <= before)


def leave_sync(way: int, stream: Any, count: int) -> None:
    if way == 0:  # break
        for _ in stream:
            count -= 1
            if count <= 0:
                break
    elif way == 1:  # close
        next(stream)
        stream.close()
    elif way == 2:  # an exception of the consumer's
        try:
            with closing(stream):
                for _ in stream:
                    count -= 1
                    if count <= 0:
                        raise Left
        except Left:
            pass
    elif way == 3:  # collected
        next(stream)
        del stream
    else:  # never begun
        del stream


def test_a_thousand_abandoned_sync_streams_leave_nothing_behind(server: SimulatedServer) -> None:
    rng = random.Random(13)
    before, others = sockets(), threads()
    made = models(server, "streams")
    llm = over(made)
    turns = [(n, rng.randrange(1, 8), config(rng)) for n in range(1000)]
    failures: list[BaseException] = []

    def consume(mine: list[tuple[int, int, dict[str, Any]]]) -> None:
        try:
            for n, count, watched in mine:
                leave_sync(n % 5, llm.stream(f"question {n % 700}", watched), count)
        except BaseException as error:
            failures.append(error)

    consumers = [threading.Thread(target=consume, args=(turns[n::16],)) for n in range(16)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert not failures
    nobody_is_blamed(llm)
    stats = llm.cluster.stats()
    assert stats["failed"] == 0
    assert stats["abandoned"] > 300
    assert llm.cluster.close()
    # A worker that was reading when its consumer left ends with that read.
    assert eventually(lambda: threads() <= others)
    asyncio.run(close_clients(made))
    assert at_rest(server)
    assert eventually(lambda: sockets() <= before)


# -- one at a time --------------------------------------------------------------------------------------


async def test_a_cancelled_call_raises_cancelled_and_nothing_else(server: SimulatedServer) -> None:
    llm = over([ScriptedModel("late", delay=30.0)])
    for watched in ({}, config(random.Random(2))):
        task = asyncio.create_task(llm.ainvoke("hello", watched))
        await asyncio.sleep(0.02)
        assert llm.cluster.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert type(cancelled.value) is asyncio.CancelledError
        nobody_is_blamed(llm)


async def test_a_cancelled_probe_leaves_its_place_to_the_next_caller() -> None:
    model = ScriptedModel(ConnectionError("down"), lambda _: hang, "well again")
    hang = [30.0, "never"]
    llm = ClusteredLLM(
        [Endpoint("e", model)],
        breaker=BreakerPolicy(consecutive_failures=1, open_for=0.01),
        policy=Policy(attempts=1),
    )
    (member,) = llm.cluster.pool
    with pytest.raises(ConnectionError):
        await llm.ainvoke("hello")
    assert member.breaker_state is BreakerState.OPEN
    await asyncio.sleep(0.02)
    probe = asyncio.create_task(anext(llm.astream("hello")))
    await asyncio.sleep(0.02)
    assert member.breaker_state is BreakerState.HALF_OPEN
    assert len(member.breaker._probes) == 1
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    gc.collect()
    await asyncio.sleep(0)
    assert not member.breaker._probes
    assert (await llm.ainvoke("hello")).content == "well again"
    assert member.breaker_state is BreakerState.CLOSED
    assert member.failed == 1, "of the call that failed, not of the one that left"


async def test_leaving_during_the_wait_before_a_retry_settles_the_call() -> None:
    llm = ClusteredLLM(
        [Endpoint("e", ScriptedModel(ConnectionError("down")))],
        policy=Policy(wait=lambda _: 30.0, timeout=60.0),
    )
    task = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.cluster.in_flight == 0
    assert llm.cluster.stats()["abandoned"] == 1


async def test_a_follower_that_leaves_does_not_disturb_the_one_who_asks() -> None:
    model = ScriptedModel("the answer", delay=0.1)
    llm = over([model])
    leader = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    follower = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    follower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower
    assert (await leader).content == "the answer"
    assert model.calls == 1
    nobody_is_blamed(llm)


def test_a_keyboard_interrupt_during_a_blocking_call_settles_its_lease(server: SimulatedServer) -> None:
    assert threading.current_thread() is threading.main_thread(), "signals go to the main thread"
    server.fail(faults.Hang(), endpoint="interrupt-0")
    llm = over(models(server, "interrupt")[:1])
    main = threading.main_thread().ident

    def interrupt(number: int) -> None:
        assert server.wait_until(lambda: server.in_flight("interrupt-0") == number, within=10.0)
        signal.pthread_kill(main, signal.SIGINT)

    # What the thread in the SDK waits for goes on until its own timeout, so the second is the second.
    for number, ask in enumerate((llm.invoke, lambda text: next(llm.stream(text))), 1):
        threading.Thread(target=interrupt, args=(number,)).start()
        with pytest.raises(KeyboardInterrupt):
            ask("hello")
        nobody_is_blamed(llm)
    server.heal("interrupt-0")
    llm.cluster.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exit_inside_a_model_settles_its_lease(error: type[BaseException]) -> None:
    llm = over([ScriptedModel(error())])
    with pytest.raises(error):
        llm.invoke("hello")
    nobody_is_blamed(llm)
    assert llm.cluster.stats()["abandoned"] == 1


def test_a_model_in_place_is_left_like_any_other() -> None:
    # Answers that take no time are read on the caller's own thread, after a while.
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))])
    for _ in range(30):
        assert llm.invoke("hello").content == "one two three"
    assert llm.cluster.pool.get("e").served == 30
    stream = llm.stream("hello")
    next(stream)
    assert llm.cluster.in_flight == 1
    stream.close()
    nobody_is_blamed(llm)


def test_a_stream_left_by_its_consumer_is_closed_at_the_endpoint(server: SimulatedServer) -> None:
    server.behave("left-1", tokens=10_000, between_tokens=0.01)
    llm = over(models(server, "left")[1:2])
    stream = llm.stream("hello")
    next(stream)
    assert server.in_flight("left-1") == 1
    stream.close()
    # The rest is neither wanted nor read: it would have gone on for a hundred seconds.
    assert server.wait_until(lambda: server.in_flight("left-1") == 0, within=5.0)
    (seen,) = server.seen("left-1")
    assert seen.outcome == "client_left"
    llm.cluster.close()


@pytest.mark.filterwarnings("ignore:.*beta:Warning")
async def test_events_of_a_stream_that_are_left_leave_nothing_behind() -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel(["one", " two", 30.0, " three"]))])
    async for event in llm.astream_events("hello", version="v2"):
        if event["event"] == "on_chat_model_stream":
            break
    stream = await llm.astream_events("hello", version="v3")
    async with aclosing(stream):
        async for _ in stream.text:
            break
    del stream, event
    gc.collect()
    assert await no_tasks_but(asyncio.all_tasks)
    nobody_is_blamed(llm)


async def no_tasks_but(tasks: Callable[[], set[Any]]) -> bool:
    """Whether the calls of this loop are over: the session's own tasks stay."""
    for _ in range(200):
        if not any("langchain" in repr(task.get_coro()) for task in tasks()):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "way", [by_aclose, by_exception, by_timeout, by_cancel], ids=lambda way: way.__name__
)
async def test_no_generator_is_left_to_the_garbage_collector(way: Any) -> None:
    # Collected, it would be closed some time later, on another task, and hold its lease until then.
    collected: list[str] = []
    hooks = sys.get_asyncgen_hooks()

    def finalize(generator: Any) -> None:
        collected.append(generator.__qualname__)
        hooks.finalizer(generator)

    endings = [0.2, ConnectionError("broke"), " four", " five"]
    llms = [ClusteredLLM([Endpoint("e", ScriptedModel(["one", " two", " three", end]))]) for end in endings]
    sys.set_asyncgen_hooks(finalizer=finalize)
    try:
        for llm in llms:
            for point in (0.1, 0.3, 0.9):
                try:
                    await way(llm.astream("hello"), point)
                except StreamInterrupted:
                    pass
                assert llm.cluster.in_flight == 0, "at once, not a turn of the loop later"
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(finalizer=hooks.finalizer)
    for llm in llms:
        assert [member.in_flight for member in llm.cluster.pool] == [0]
    # LangChain lets go of `_astream` without closing it; what that holds is closed by the face.
    assert set(collected) <= {"ClusteredLLM._astream"}


class Swallowing(GenericFakeChatModel):
    """Its client takes a cancellation for a hiccup, as anyio does when it comes with the connection."""

    began: asyncio.Event = Field(default_factory=asyncio.Event)

    async def _hiccup(self) -> None:
        self.began.set()
        try:
            await asyncio.sleep(30.0)
        except asyncio.CancelledError:
            pass

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await self._hiccup()
        return self._generate(*args, **kwargs)

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        if self.name == "late":
            yield ChatGenerationChunk(message=AIMessageChunk("first "))
        await self._hiccup()
        yield ChatGenerationChunk(message=AIMessageChunk("hello", chunk_position="last"))


@pytest.mark.parametrize("way", ["ainvoke", "astream", "late astream", "hedged ainvoke"])
async def test_a_cancellation_that_a_client_swallows_is_one_all_the_same(way: str) -> None:
    name = "late" if way.startswith("late") else "soon"
    model = Swallowing(messages=iter([AIMessage("hello")] * 3), name=name)
    policy = Policy(hedge=HedgePolicy(after=20.0) if way.startswith("hedged") else None)
    llm = ClusteredLLM([Endpoint("a", model), Endpoint("b", model)], policy=policy)

    async def ask() -> Any:
        if way.endswith("astream"):
            return [chunk async for chunk in llm.astream("hi")]
        return await llm.ainvoke("hi")

    asking = asyncio.create_task(ask())
    await asyncio.wait_for(model.began.wait(), 20.0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    stats = llm.cluster.stats()
    assert (stats["abandoned"], stats["answered"], stats["in_flight"]) == (1, 0, 0)
    assert [member.in_flight for member in llm.cluster.pool] == [0, 0]
    await llm.cluster.aclose()
