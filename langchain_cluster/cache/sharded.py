"""One key, one store: several stores that divide the keys among them (`division.py`).

Either a rule of the caller's, `shard_key`, tells what stays here from what goes to a shared store, or a hash
ring (`balancer/ring.py`) does: one store more or one less moves only the keys that are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from langchain_cluster.cache.asking import Ask, Asking, arun, run
from langchain_cluster.cache.division import Division
from langchain_cluster.cache.listening import Listening, listens
from langchain_cluster.cache.selection import Invalidates, Selection, as_it_can
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.plan.effects import Claimed, Found
from langchain_cluster.ports import CacheStore


class ShardedCache(Invalidates):
    """Stores that divide the keys among them.

    Args:
        shards: stores by a name that stays theirs, or a list of them, named by their places.
        local, remote: instead of shards: where the keys stay, and go, that `shard_key` answers False, and
            True, for.
        shard_key: with shards: what of a key to go by (all of it); with `local` and `remote`: whether a key
            goes to `remote`.

    Raises:
        ConfigError: neither shards nor `local`, `remote` and `shard_key`, or both; or one that is no store.
    """

    name = "sharded"

    def __init__(
        self,
        shards: Mapping[str, CacheStore] | Iterable[CacheStore] | None = None,
        *,
        local: CacheStore | None = None,
        remote: CacheStore | None = None,
        shard_key: Callable[[str], Any] | None = None,
    ) -> None:
        self._division = Division(shards, local, remote, shard_key)
        self.shard_key, self.stores = shard_key, self._division.stores

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most: all stores may be asked, one after the other."""
        return sum(float(s.longest) if "longest" in vars(type(s)) else inf for s in self.stores)

    def store_of(self, key: str) -> Any:
        """The store that holds a key."""
        return self._division.store_of(key)

    # -- one key ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        return self.store_of(key).get(key)  # type: ignore[no-any-return]

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return await self.store_of(key).aget(key)  # type: ignore[no-any-return]

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, its store's own if None."""
        self.store_of(key).set(key, value, ttl)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await self.store_of(key).aset(key, value, ttl)

    def delete(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        return bool(self.store_of(key).delete(key))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await self.store_of(key).adelete(key))

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        return bool(self.store_of(key).exists(key))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await self.store_of(key).aexists(key))

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(self.store_of(key).expire(key, ttl))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await self.store_of(key).aexpire(key, ttl))

    # -- many keys: each store is asked once ----------------------------------------------------------

    def find(self, keys: Sequence[str]) -> Found | None:
        """The first of `keys` that its store holds, and which store that is."""
        return next((found for found in self.find_each(keys) if found is not None), None)

    async def afind(self, keys: Sequence[str]) -> Found | None:
        """See `find`."""
        return next((found for found in await self.afind_each(keys) if found is not None), None)

    def find_each(self, keys: Sequence[str]) -> list[Found | None]:
        """What lies under each of `keys`, and in which store."""
        return run(self._find_each(keys))

    async def afind_each(self, keys: Sequence[str]) -> list[Found | None]:
        """See `find_each`."""
        return await arun(self._find_each(keys))

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        return [None if found is None else found.raw for found in self.find_each(keys)]

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        return [None if found is None else found.raw for found in await self.afind_each(keys)]

    def entries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """As `mget`, each value with the seconds it has left, None for ever or where nobody can say."""
        return run(self._entries(keys))

    async def aentries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """See `entries`."""
        return await arun(self._entries(keys))

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        run(self._mset(items, ttl))

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        await arun(self._mset(items, ttl))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return run(self._mdelete(keys))

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return await arun(self._mdelete(keys))

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob (`cache/glob.py`); how many there were.

        Raises what a store raised, after all were asked.
        """
        return run(self._everywhere(lambda store: ("clear", (pattern,))))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return await arun(self._everywhere(lambda store: ("clear", (pattern,))))

    def remove(self, selected: Selection) -> int:
        """Remove what is selected from all stores; how many there were. Raises as `clear`."""
        return run(self._everywhere(lambda store: as_it_can(store, selected)))

    async def aremove(self, selected: Selection) -> int:
        """See `remove`."""
        return await arun(self._everywhere(lambda store: as_it_can(store, selected)))

    def _everywhere(self, how: Callable[[Any], tuple[str, tuple[Any, ...]]]) -> Asking[int]:
        gone, failed = 0, None
        for store in self.stores:
            try:
                gone += yield Ask(store, *how(store))
            except Exception as error:
                failed = error
        if failed is not None:
            raise failed
        return gone

    # -- one of many processes asks: in the store of the first key ---------------------------------------

    @property
    def claims(self) -> bool:
        """Whether processes agree in some store on who asks a new question."""
        return any(getattr(store, "claims", False) for store in self.stores)

    def claim(self, keys: Sequence[str], streaming: bool = False) -> Claimed | None:
        """See `RedisCache.claim`; None where the key's own store has no claims."""
        return run(self._claim(keys, streaming))

    async def aclaim(self, keys: Sequence[str], streaming: bool = False) -> Claimed | None:
        """See `claim`."""
        return await arun(self._claim(keys, streaming))

    def _claim(self, keys: Sequence[str], streaming: bool) -> Asking[Claimed | None]:
        first, *others = self._division.divided(keys)
        if not getattr(first[0], "claims", False):
            return None
        claimed: Claimed | None = yield Ask(first[0], "claim", (first[1], streaming))
        for store, part in others:
            if claimed is not None and claimed.raw is None:
                raws = yield Ask(store, "mget", (part,))
                raw = next((raw for raw in raws if raw is not None), None)
                claimed = replace(claimed, raw=raw, layer=store.name)
        return claimed

    def _find_each(self, keys: Sequence[str]) -> Asking[list[Found | None]]:
        found: dict[str, Found] = {}
        for store, part in self._division.divided(dict.fromkeys(keys)):
            raws = yield Ask(store, "mget", (part,))
            found |= {k: Found(raw, store.name) for k, raw in zip(part, raws, strict=True) if raw is not None}
        return [found.get(key) for key in keys]

    def _entries(self, keys: Sequence[str]) -> Asking[list[tuple[bytes, float | None] | None]]:
        found: dict[str, tuple[bytes, float | None] | None] = {}
        for store, part in self._division.divided(dict.fromkeys(keys)):
            if hasattr(store, "entries"):
                of_store = yield Ask(store, "entries", (part,))
            else:
                raws = yield Ask(store, "mget", (part,))
                of_store = [None if raw is None else (raw, None) for raw in raws]
            found |= dict(zip(part, of_store, strict=True))
        return [found[key] for key in keys]

    def _mset(self, items: Mapping[str, bytes], ttl: float | None) -> Asking[None]:
        for store, part in self._division.divided(items):
            yield Ask(store, "mset", ({key: items[key] for key in part}, ttl))

    def _mdelete(self, keys: Sequence[str]) -> Asking[int]:
        gone = 0
        for store, part in self._division.divided(keys):
            gone += yield Ask(store, "mdelete", (part,))
        return gone

    # -- layers before it are told what others change -----------------------------------------------------

    @property
    def listens(self) -> bool:
        """Whether a store tells what changes in it."""
        return any(map(listens, self.stores))

    def listen(
        self,
        *,
        changed: Callable[[list[str] | None], None],
        ready: Callable[[], None],
        lost: Callable[[], None],
    ) -> Listening:
        """Be told of every key that changes in a store that tells, until `close`: see `RedisCache.listen`."""
        return Listening([s for s in self.stores if listens(s)], changed=changed, ready=ready, lost=lost)

    def peek(self, key: str) -> bytes | None:
        """As `get`, without counting where its store can do that; None too when it cannot be asked."""
        peek = getattr(self.store_of(key), "peek", None)
        return None if peek is None else peek(key)

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """The stores' counts, added up."""
        of = [store.stats() for store in self.stores]
        return CacheStats(*(sum(getattr(one, name) for one in of) for name in CacheStats.__slots__))

    def close(self) -> None:
        """Close all stores."""
        for store in self.stores:
            store.close()

    async def aclose(self) -> None:
        """See `close`."""
        for store in self.stores:
            await store.aclose()

    def __repr__(self) -> str:
        return f"<ShardedCache of {len(self.stores)}: {', '.join(map(repr, self.stores))}>"
