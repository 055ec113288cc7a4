"""A cache in a real cluster: the contract, changes told by every master, and a master killed under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("redis")

import redis
import redis.crc

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.errors import CacheUnavailable
from langchain_cluster.model.cache_key import cache_key
from langchain_cluster.model.label import labelled
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.testing.contracts import CacheStoreContract
from langchain_cluster.testing.server_process import HOST
from tests.services.valkey import INSTALL, binary
from tests.services.valkey_cluster import SLOTS, ValkeyCluster

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
numbers = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


class TestRedisCacheInACluster(CacheStoreContract):
    @pytest.fixture
    def store(self, cluster: ValkeyCluster) -> Iterator[RedisCache]:
        # Not about time: one connection that comes late on a starved machine has redis-py look at the cluster
        # anew and close those that other threads use, and one such failure opens a breaker.
        store = RedisCache.from_url(
            cluster.url, f"test-{next(numbers)}[*]:", connect_timeout=10.0, timeout=10.0
        )
        yield store
        store.close()


def test_what_one_writes_another_sees_whichever_master_holds_it(cluster: ValkeyCluster) -> None:
    caches = [LayeredCache([MemoryCache(), RedisCache.from_url(cluster.url, "seen:")]) for _ in range(2)]
    a, b = caches
    keys = [f"k{n}" for n in range(30)]
    for cache in caches:
        cache.get("begin")
        end = time.monotonic() + 5.0
        while not cache._coherence.listening:  # type: ignore[union-attr]
            assert time.monotonic() < end
            time.sleep(0.001)
    a.mset(dict.fromkeys(keys, b"old"))
    assert b.mget(keys) == [b"old"] * 30
    a.mset(dict.fromkeys(keys, b"new"))
    end = time.monotonic() + 2.0
    while b.mget(keys) != [b"new"] * 30:
        assert time.monotonic() < end
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_a_master_killed_under_load_fails_no_call_and_hits_return(awaited: bool) -> None:
    with ValkeyCluster() as cluster, asyncio.Runner() as runner:
        llm = ClusteredLLM(
            [Endpoint("e", ScriptedModel("the answer"))], cache=RedisCache.from_url(cluster.url), timeout=5.0
        )

        def source(number: int) -> str:
            config: Any = {"configurable": {"cluster": {"tenant": f"t{number}"}}}  # spread over the masters
            asked = runner.run(llm.ainvoke("hi", config)) if awaited else llm.invoke("hi", config)
            assert asked.text == "the answer"
            return str(asked.response_metadata["cluster"]["cache"])

        assert {source(number) for number in range(20)} == {"miss"}
        assert {source(number) for number in range(20)} == {"redis"}
        cluster.nodes[0].kill()
        end = time.monotonic() + 30.0
        while {source(number) for number in range(20)} != {"redis"}:
            assert time.monotonic() < end, "hits do not return"
        runner.run(llm.cluster.aclose())


@pytest.mark.parametrize("awaited", [False, True])
def test_a_master_that_is_away_keeps_nobody_from_the_others(awaited: bool) -> None:
    """A breaker for all of them would open: every other question goes to the one that hangs."""
    with ValkeyCluster() as cluster, asyncio.Runner() as runner:
        store = RedisCache.from_url(cluster.url, "each:", connect_timeout=0.5, timeout=0.5)
        keys = [f"k{n}" for n in range(30)]

        def get(key: str) -> bytes | None:
            return runner.run(store.aget(key)) if awaited else store.get(key)

        def at_master(key: str) -> int:
            slot = redis.crc.key_slot(f"each:{key}".encode())
            return next(n for n, (_, last) in enumerate(SLOTS) if slot <= last)

        store.mset(dict.fromkeys(keys, b"v"))
        assert {get(key) for key in keys} == {b"v"}
        here = [key for key in keys if at_master(key) == 0]
        there = [key for key in keys if at_master(key) != 0]
        assert here
        assert there
        for node in cluster.nodes:
            with redis.Redis(HOST, node.port) as client:
                client.config_set("cluster-require-full-coverage", "no")
        for replica in cluster.nodes[3:]:
            replica.kill()  # nobody takes over
        cluster.nodes[0].pause()
        failed = 0
        for _ in range(3):
            for key in here:
                try:
                    get(key)
                except CacheUnavailable:
                    failed += 1
            assert {get(key) for key in there} == {b"v"}
        assert failed == 3 * len(here)
        states = sorted(breaker.state.value for breaker in store.masters.values())
        assert states.count("closed") == 2
        assert len(states) == 3
        assert store.breaker.state.value == "closed"
        cluster.nodes[0].resume()
        runner.run(store.aclose())


def test_of_processes_that_share_a_cluster_one_asks(cluster: ValkeyCluster) -> None:
    model = ScriptedModel("the answer", delay=0.3)
    llms = [
        ClusteredLLM(
            [Endpoint("e", model)],
            cache=RedisCache.from_url(cluster.url, "one:", connect_timeout=10.0, timeout=10.0),
        )
        for _ in range(3)
    ]

    async def ask(tenant: str) -> list[Any]:
        config: Any = {"configurable": {"cluster": {"tenant": tenant}}}
        whole = [asyncio.to_thread(llm.invoke, "hi", config) for llm in llms]
        return await asyncio.gather(*whole, *(llm.ainvoke("hi", config) for llm in llms))

    for number in range(4):  # spread over the masters
        asyncio.run(ask(f"t{number}"))
        assert model.calls == number + 1
    for llm in llms:
        llm.cluster.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_answers_are_taken_back_from_every_master(cluster: ValkeyCluster, awaited: bool) -> None:
    store = RedisCache.from_url(cluster.url, "back:", connect_timeout=10.0, timeout=10.0)
    keys = [cache_key(f"t{number}", "m", "1") for number in range(30)]
    store.mset({key: labelled(b"v", 1.0, ["docs"] * (n % 2)) for n, key in enumerate(keys)})

    def invalidate(**asked: Any) -> int:
        return asyncio.run(store.ainvalidate(**asked)) if awaited else store.invalidate(**asked)

    assert invalidate(tenant="t0") == 1
    assert invalidate(tag="docs") == 15
    assert [store.exists(key) for key in keys] == [n % 2 == 0 and n > 0 for n in range(30)]
    assert invalidate(model="m") == 14
    store.close()
