"""Caches as they are written in a file."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.config import load
from langchain_cluster.config.build import cluster_arguments
from langchain_cluster.errors import ConfigError

pytest.importorskip("redis")


def built(cache: Any) -> Any:
    endpoints = [{"id": "a", "model": "scripted:x"}]
    return cluster_arguments(load({"endpoints": endpoints, "cache": cache}))["cache"]


def test_a_cache_in_a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_PASSWORD", "s3cret")
    cache = built(
        {"kind": "redis", "url": "redis://h:1/2", "password_env": "THE_PASSWORD", "prefix": "p:", "ttl": "1h"}
    )
    assert isinstance(cache, RedisCache)
    assert (str(cache.clients.address), cache.prefix, cache.ttl) == ("redis://h:1/2", "p:", 3600.0)
    assert cache.clients.address.password == "s3cret"
    assert "s3cret" not in repr(cache)


def test_an_address_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_URL", "redis+cluster://a:1,b:2")
    assert built({"kind": "redis", "url_env": "THE_URL"}).clients.address.kind == "cluster"
    monkeypatch.setenv("THE_URL", "redis://ann:s3cret@h:x")
    with pytest.raises(ConfigError, match="a port") as caught:
        built({"kind": "redis", "url_env": "THE_URL"})
    assert caught.value.key == "cache.url_env"
    assert "s3cret" not in str(caught.value)


def test_a_variable_that_is_not_set_is_told_with_its_place() -> None:
    layers = ["memory", {"kind": "redis", "url": "redis://h", "password_env": "NOT_THERE"}]
    with pytest.raises(ConfigError, match="not set") as caught:
        built({"kind": "layered", "layers": layers})
    assert caught.value.key == "cache.layers.1.password_env"


def test_layers_and_shards() -> None:
    redis = {"kind": "redis", "url": "redis://h"}
    cache = built({"kind": "layered", "layers": [{"max_entries": 5}, redis], "write": "back"})
    assert isinstance(cache, LayeredCache)
    assert [type(layer) for layer in cache.layers] == [MemoryCache, RedisCache]
    assert (cache.write, cache.layers[0].max_entries) == ("back", 5)  # type: ignore[attr-defined]
    sharded = built({"kind": "sharded", "shards": {"a": redis, "b": "memory"}})
    assert isinstance(sharded, ShardedCache)
    assert [type(store) for store in sharded.stores] == [RedisCache, MemoryCache]
