"""A cache in a real cluster: the contract, changes told by every master, and a master killed under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("redis")

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.testing.contracts import CacheStoreContract
from tests.services.valkey import INSTALL, binary
from tests.services.valkey_cluster import ValkeyCluster

pytestmark = [pytest.mark.services, pytest.mark.skipif(binary() is None, reason=INSTALL)]
numbers = count()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


class TestRedisCacheInACluster(CacheStoreContract):
    @pytest.fixture
    def store(self, cluster: ValkeyCluster) -> Iterator[RedisCache]:
        store = RedisCache.from_url(cluster.url, f"test-{next(numbers)}[*]:", timeout=2.0)
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
