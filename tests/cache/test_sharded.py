"""Stores that divide the keys among them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache, ShardedCache
from langchain_cluster.errors import ConfigError
from langchain_cluster.testing import ScriptedModel

KEYS = [f"lc:{{scope}}:{n}" for n in range(3_000)]


def homes(cache: ShardedCache) -> list[Any]:
    return [cache.store_of(key) for key in KEYS]


def test_every_shard_holds_its_part() -> None:
    shards = [MemoryCache() for _ in range(3)]
    cache = ShardedCache(shards)
    cache.mset(dict.fromkeys(KEYS, b"v"))
    assert all(700 < len(shard) < 1_300 for shard in shards)
    assert cache.mget(KEYS) == [b"v"] * len(KEYS)
    assert cache.stats().entries == len(KEYS)
    assert cache.clear("*1") == 300


def test_one_shard_more_moves_only_what_becomes_its_own() -> None:
    shards = {name: MemoryCache() for name in "abc"}
    before = homes(ShardedCache(shards))
    shards["d"] = MemoryCache()
    after = homes(ShardedCache(shards))
    moved = [now for was, now in zip(before, after, strict=True) if now is not was]
    assert set(map(id, moved)) == {id(shards["d"])}
    assert len(moved) < len(KEYS) / 2


def test_names_decide_not_the_order() -> None:
    shards = {name: MemoryCache() for name in "abc"}
    assert homes(ShardedCache(shards)) == homes(ShardedCache(dict(reversed(shards.items()))))


def test_a_part_of_the_key_can_decide() -> None:
    cache = ShardedCache([MemoryCache() for _ in range(3)], shard_key=lambda key: key.partition("}")[0])
    assert len(set(map(id, homes(cache)))) == 1


def test_a_rule_tells_what_stays_here() -> None:
    local, remote = MemoryCache(), MemoryCache()
    cache = ShardedCache(local=local, remote=remote, shard_key=lambda key: key.startswith("shared:"))
    cache.mset({"shared:a": b"1", "b": b"2"})
    assert (local.exists("b"), remote.exists("shared:a"), len(local), len(remote)) == (True, True, 1, 1)


def test_a_call_tells_which_store_answered() -> None:
    named = MemoryCache()
    named.name = "redis"
    cache = ShardedCache(local=MemoryCache(), remote=named, shard_key=lambda key: True)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one"))], cache=cache)
    found = [llm.invoke("hello").response_metadata["cluster"]["cache"] for _ in range(2)]
    assert found == ["miss", "redis"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"shards": []},
        {"shards": [{}]},
        {"shards": [MemoryCache]},
        {"shards": MemoryCache()},
        {"shards": [MemoryCache()], "shard_key": "x"},
        {"local": MemoryCache(), "remote": MemoryCache(), "shard_key": 5},
        {"local": MemoryCache()},
        {"local": MemoryCache(), "remote": MemoryCache()},
        {"shards": [MemoryCache()], "local": MemoryCache()},
    ],
    ids=str,
)
def test_what_is_not_valid_is_one_config_error(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ShardedCache(**given)


def ask(cache: ShardedCache, operation: str, awaited: bool, **given: str) -> Any:
    if awaited:
        return asyncio.run(getattr(cache, f"a{operation}")(**given))
    return getattr(cache, operation)(**given)


@pytest.mark.parametrize("awaited", [False, True])
def test_to_take_something_back_asks_all_stores_before_it_raises(awaited: bool) -> None:
    class Broken(MemoryCache):
        def clear(self, pattern: str = "*") -> int:
            raise ConnectionError("away")

        def remove(self, selected: Any) -> int:
            raise ConnectionError("away")

    well = MemoryCache()
    cache = ShardedCache([Broken(), well])
    for operation, given in (("clear", {}), ("invalidate", {"pattern": "*"})):
        well.set("k", b"v")
        with pytest.raises(ConnectionError):
            ask(cache, operation, awaited, **given)
        assert len(well) == 0
