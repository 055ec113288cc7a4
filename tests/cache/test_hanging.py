"""A server that accepts and never answers: what it is asked, how often, and what calls go on with."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.cache.held_up import within
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.testing.server_process import HOST

pytest.importorskip("redis")
FACES = ["invoke", "ainvoke", "stream", "astream"]
ONCE = BreakerPolicy(consecutive_failures=1, open_for=3600.0, max_open=3600.0)


class Silent:
    """Its connections stand, and nobody ever reads what comes."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0))
        self._listening.setblocking(False)
        self.url = f"redis://{HOST}:{self._listening.getsockname()[1]}"
        self._peers: list[socket.socket] = []

    def count(self) -> int:
        """How many have connected."""
        while True:
            try:
                self._peers.append(self._listening.accept()[0])
            except BlockingIOError:
                return len(self._peers)

    def close(self) -> None:
        for one in (self._listening, *self._peers):
            one.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


async def busy(seconds: float) -> None:
    """Hold the loop up, again and again."""
    while True:
        time.sleep(seconds)
        await asyncio.sleep(0)


async def asked(llm: ClusteredLLM, face: str, question: str) -> Any:
    match face:
        case "invoke":
            return await asyncio.to_thread(llm.invoke, question)
        case "ainvoke":
            return await llm.ainvoke(question)
        case "stream":
            first, *rest = await asyncio.to_thread(lambda: list(llm.stream(question)))
            return sum(rest, start=first)
        case _:
            first, *rest = [chunk async for chunk in llm.astream(question)]
            return sum(rest, start=first)


@pytest.mark.parametrize("held_up", [None, 0.05])
@pytest.mark.parametrize("face", FACES)
def test_it_is_asked_once_in_a_breakers_period(silent: Silent, face: str, held_up: float | None) -> None:
    store = RedisCache.from_url(silent.url, connect_timeout=0.05, timeout=0.05, breaker=ONCE)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], cache=store)

    async def ask_on() -> None:
        others = None if held_up is None else asyncio.create_task(busy(held_up))
        for period in range(2):
            for number in range(2):
                told = await asked(llm, face, f"{period} {number}")
                assert told.text == "hi"
                assert told.response_metadata["cluster"]["cache"] == "miss"
                assert silent.count() == period + 1
                assert store.breaker.state.value == "open"
            store.breaker.probe_soon(time.monotonic())
        if others is not None:
            others.cancel()
        await llm.cluster.aclose()

    asyncio.run(ask_on())


@pytest.mark.parametrize("face", FACES)
def test_who_has_less_time_than_the_cache_takes_asks_once_too(silent: Silent, face: str) -> None:
    store = RedisCache.from_url(silent.url, connect_timeout=0.3, timeout=0.3, breaker=ONCE)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], cache=store, timeout=0.8)

    async def ask() -> None:
        assert (await asked(llm, face, "?")).text == "hi"
        assert silent.count() == 1
        await llm.cluster.aclose()

    asyncio.run(ask())


@pytest.mark.parametrize("face", ["ainvoke", "astream"])
def test_calls_that_ask_together_wait_together(silent: Silent, face: str) -> None:
    """Each that had begun before the first one's time was over has asked, and none of them asks again."""
    near = MemoryCache()
    store = RedisCache.from_url(silent.url, connect_timeout=0.05, timeout=0.05, breaker=ONCE)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], cache=LayeredCache([near, store]))
    errors = store.stats().errors

    async def ask_together() -> None:
        others = asyncio.create_task(busy(0.05))
        for _ in range(2):
            await asyncio.gather(*(asked(llm, face, f"{number}") for number in range(5)))
        others.cancel()
        await llm.cluster.aclose()

    asyncio.run(ask_together())
    assert store.breaker.state.value == "open"
    assert silent.count() <= 5 + 1  # and whoever listens for changes
    assert store.stats().errors > errors


async def test_what_came_while_the_loop_was_held_up_is_taken() -> None:
    loop = asyncio.get_running_loop()
    for steps in range(3):

        async def answer(steps: int = steps) -> str:
            for _ in range(steps):
                await asyncio.sleep(0)
            came: asyncio.Future[str] = loop.create_future()
            loop.call_later(0.01, came.set_result, "it")
            return await came

        asking = asyncio.create_task(within(0.02, answer()))
        await asyncio.sleep(0)
        time.sleep(0.1)
        assert await asking == "it"


async def test_what_never_comes_is_waited_for_in_vain_however_busy_the_loop() -> None:
    others = asyncio.create_task(busy(0.03))
    with pytest.raises(TimeoutError):
        await within(0.02, asyncio.get_running_loop().create_future())
    others.cancel()


async def test_who_is_cancelled_while_time_runs_out_is_cancelled() -> None:
    waiting = asyncio.create_task(within(0.01, asyncio.Event().wait()))
    await asyncio.sleep(0)
    time.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await within(None, asyncio.sleep(0, "all the time there is")) == "all the time there is"
