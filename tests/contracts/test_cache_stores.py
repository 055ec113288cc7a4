"""Every store of ours keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.cache.order import ORDERS
from langchain_cluster.testing import FakeClock
from langchain_cluster.testing.contracts import CacheStoreContract

numbers = count()


def redis_cache(url: str, **options: Any) -> RedisCache:
    """One with a prefix that is nobody else's, and is full of what servers take for globs."""
    pytest.importorskip("redis")
    patient = {"connect_timeout": 10.0, "timeout": 10.0}  # what is tested here is no machine's speed
    return RedisCache.from_url(url, f"test-{next(numbers)}[*]?\\\\^:", **patient | options)


class TestMemoryCache(CacheStoreContract):
    @pytest.fixture(params=sorted(ORDERS))
    def store(self, request: pytest.FixtureRequest) -> MemoryCache:
        self.clock = FakeClock(0.0)
        return MemoryCache(policy=request.param, clock=self.clock.now, seed=1)

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
class TestRedisCache(CacheStoreContract):
    @pytest.fixture
    def store(self, valkey_url: str, sealed: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisCache]:
        monkeypatch.setenv("CACHE_SECRET", "a secret of many letters")
        store = redis_cache(valkey_url, secret_env="CACHE_SECRET" if sealed else None)
        yield store
        store.close()


@pytest.mark.parametrize("write", ["through", "back"])
class TestLayeredCache(CacheStoreContract):
    @pytest.fixture
    def store(self, write: Any) -> Iterator[LayeredCache]:
        self.clock = FakeClock(0.0)
        layers = [MemoryCache(clock=self.clock.now), MemoryCache(clock=self.clock.now)]
        store = LayeredCache(layers, write, max_pending=10_000, clock=self.clock.now)
        yield store
        store.close()

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)


class TestLayeredCacheOverRedis(CacheStoreContract):
    @pytest.fixture
    def store(self, valkey_url: str) -> Iterator[LayeredCache]:
        store = LayeredCache([MemoryCache(), redis_cache(valkey_url)])
        yield store
        store.close()


class TestShardedCache(CacheStoreContract):
    @pytest.fixture(params=["shards", "rule"])
    def store(self, request: pytest.FixtureRequest) -> ShardedCache:
        self.clock = FakeClock(0.0)
        one, other = MemoryCache(clock=self.clock.now), MemoryCache(clock=self.clock.now)
        if request.param == "shards":
            return ShardedCache([one, other])
        return ShardedCache(local=one, remote=other, shard_key=lambda key: len(key) % 2)

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)
