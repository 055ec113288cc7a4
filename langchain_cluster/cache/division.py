"""Which of several stores holds a key? A hash ring over their names says, or a rule of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from langchain_cluster.balancer.ring import Ring, digest
from langchain_cluster.cache.given import a_store, stores
from langchain_cluster.errors import ConfigError

VNODES = 160  # points of a shard on the ring: their parts differ by about a tenth


@dataclass(frozen=True, slots=True)
class _Name:
    id: str


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    """A store as a ring sees it."""

    endpoint: _Name
    store: Any
    weight: float = 1.0


class Division:
    """See `ShardedCache`, whose arguments these are."""

    def __init__(self, shards: Any, local: Any, remote: Any, shard_key: Callable[[str], Any] | None) -> None:
        self.shard_key = shard_key
        self._ring: Ring | None = None
        if shard_key is not None and not callable(shard_key):
            raise ConfigError(f"{shard_key!r} is no function of a key", key="cache.shard_key")
        if shards is not None and local is None and remote is None:
            names = shards if isinstance(shards, Mapping) else count()
            self.stores = stores(shards.values() if isinstance(shards, Mapping) else shards, "cache.shards")
            if not self.stores:
                raise ConfigError("no shards: give at least one store", key="cache.shards")
            found = zip(names, self.stores, strict=False)
            self._ring = Ring([_Shard(_Name(str(name)), store) for name, store in found], VNODES)
        elif shards is None and local is not None and remote is not None and shard_key is not None:
            self.stores = a_store(local, "cache.local"), a_store(remote, "cache.remote")
        else:
            raise ConfigError("give either shards, or local, remote and shard_key", key="cache")

    def store_of(self, key: str) -> Any:
        """The store that holds a key."""
        if self._ring is not None:
            by = key if self.shard_key is None else str(self.shard_key(key))
            return self._ring.home(digest(by)).store
        assert self.shard_key is not None
        local, remote = self.stores
        return remote if self.shard_key(key) else local

    def divided(self, keys: Iterable[str]) -> list[tuple[Any, list[str]]]:
        """The stores that hold `keys`, the first key's first, each with its part of them."""
        parts: dict[int, tuple[Any, list[str]]] = {}
        for key in keys:
            store = self.store_of(key)
            parts.setdefault(id(store), (store, []))[1].append(key)
        return list(parts.values())
