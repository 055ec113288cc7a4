"""Several stores as one, the nearest first. What each operation does is in `layers.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import get_args

from langchain_cluster.cache.asking import arun, run
from langchain_cluster.cache.backlog import Backlog
from langchain_cluster.cache.coherence import Coherence
from langchain_cluster.cache.given import stores
from langchain_cluster.cache.glob import matcher
from langchain_cluster.cache.layers import Layers, WriteMode, longest
from langchain_cluster.cache.lifetime import checked
from langchain_cluster.cache.selection import Invalidates, Selection
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.errors import ConfigError
from langchain_cluster.plan.effects import Claimed, Found
from langchain_cluster.ports import CacheStore


class LayeredCache(Invalidates):
    """Stores asked one after the other.

    Args:
        layers: the nearest (and fastest) first, at least one; a LangChain `BaseCache` may be among them.
        write: "through": a write goes to all layers before it returns; "back": to the first, and to the
            others soon, by a thread. A process that dies loses at most `max_pending` writes.
        max_pending: writes that may wait with "back", >= 1; the oldest is dropped for a newer one.
        fallback_ttl: seconds the layers before a shared store (`RedisCache`) keep an entry at most while they
            are not told of changes there; while they are, an entry others change is gone at once. > 0.
        negative_ttl: seconds for which it is remembered that no layer holds a key, > 0, so that the far ones
            are not asked for it again; a write ends that. None: not at all.
        clock: monotonic seconds.

    Each layer's own time to live bounds how long it keeps an entry. A layer that fails is passed over: the
    errors are counted in `stats()`, and of a call they are events.

    Raises:
        ConfigError: no layer, one that is no store, or an unknown way to write.
    """

    name = "layered"

    def __init__(
        self,
        layers: Iterable[CacheStore],
        write: WriteMode = "through",
        *,
        max_pending: int = 1_000,
        fallback_ttl: float = 5.0,
        negative_ttl: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.layers = stores(layers, "cache.layers")
        if not self.layers:
            raise ConfigError("no layers: give at least one store", key="cache.layers")
        if write not in get_args(WriteMode):
            raise ConfigError(f"unknown write {write!r}", key="cache.write", valid=get_args(WriteMode))
        if type(max_pending) is not int or max_pending < 1:
            raise ConfigError(f"max_pending {max_pending!r} is not an integer >= 1", key="cache.max_pending")
        if negative_ttl is not None:
            checked(negative_ttl, "negative_ttl")
        self.write = write
        self._of = Layers(
            self.layers,
            write,
            max_pending=max_pending,
            fallback_ttl=checked(fallback_ttl, "fallback_ttl"),
            negative_ttl=negative_ttl,
            clock=clock,
        )

    @property
    def _coherence(self) -> Coherence | None:
        return self._of.coherence

    @property
    def _backlog(self) -> Backlog:
        return self._of.backlog

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most, all layers together; infinite if one cannot say."""
        return sum(longest(layer) for layer in self.layers)

    # -- reading ------------------------------------------------------------------------------------

    def glance(self, keys: Sequence[str]) -> Found | None:
        """What the first layer holds, if it is one that never blocks."""
        first = self.layers[0]
        if longest(first) != 0.0:
            return None
        if self._of.coherence is not None:
            self._of.coherence.start()  # a fork has the entries, and nobody who listens
        for key in keys:
            raw = first.get(key) if first.exists(key) else None
            if raw is not None:
                self._of.hits += 1
                return Found(raw, first.name)
        return None

    def find(self, keys: Sequence[str]) -> Found | None:
        """The first of `keys` that the nearest layer holds, and which layer that is."""
        return run(self._of.find(keys))

    async def afind(self, keys: Sequence[str]) -> Found | None:
        """See `find`."""
        return await arun(self._of.find(keys))

    def find_each(self, keys: Sequence[str]) -> list[Found | None]:
        """What lies under each of `keys`, and in which layer."""
        return run(self._of.find_each(keys, every=True))[0]

    async def afind_each(self, keys: Sequence[str]) -> list[Found | None]:
        """See `find_each`."""
        return (await arun(self._of.find_each(keys, every=True)))[0]

    def get(self, key: str) -> bytes | None:
        """The value, None if no layer that can be asked holds one."""
        found = self.glance((key,)) or self.find((key,))
        return None if found is None else found.raw

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        found = self.glance((key,)) or await self.afind((key,))
        return None if found is None else found.raw

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        return [None if found is None else found.raw for found in self.find_each(keys)]

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        return [None if found is None else found.raw for found in await self.afind_each(keys)]

    def exists(self, key: str) -> bool:
        """Whether a layer that can be asked holds a value; counts as no lookup."""
        return run(self._of.exists(key))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return await arun(self._of.exists(key))

    # -- writing ------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> tuple[str, ...]:
        """As `set`; the names of the errors of layers that could not be written."""
        return run(self._of.set({key: value}, None))

    async def aput(self, key: str, value: bytes) -> tuple[str, ...]:
        """See `put`."""
        return await arun(self._of.set({key: value}, None))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, or each layer's own time if that is shorter."""
        run(self._of.set({key: value}, ttl))

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await arun(self._of.set({key: value}, ttl))

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        run(self._of.set(items, ttl))

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        await arun(self._of.set(items, ttl))

    # To take something back must not be half done in silence: these raise what a layer raised, after all
    # layers were asked.

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(run(self._of.everywhere("expire", key, checked(ttl), forget=(key,))))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await arun(self._of.everywhere("expire", key, checked(ttl), forget=(key,))))

    def delete(self, key: str) -> bool:
        """Remove an entry from all layers; whether there was one."""
        return bool(run(self._of.everywhere("delete", key, forget=(key,))))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await arun(self._of.everywhere("delete", key, forget=(key,))))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were in the layer that held most of them."""
        return run(self._of.everywhere("mdelete", keys, forget=keys))

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return await arun(self._of.everywhere("mdelete", keys, forget=keys))

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob; how many there were in the fullest layer."""
        return run(self._of.everywhere("clear", pattern, forget=matcher(pattern)))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return await arun(self._of.everywhere("clear", pattern, forget=matcher(pattern)))

    def remove(self, selected: Selection) -> int:
        """Remove what is selected; how many there were in the fullest layer."""
        return run(self._of.everywhere("remove", selected, forget=selected.means))

    async def aremove(self, selected: Selection) -> int:
        """See `remove`."""
        return await arun(self._of.everywhere("remove", selected, forget=selected.means))

    # -- one of many processes asks -------------------------------------------------------------------

    @property
    def claims(self) -> bool:
        """Whether processes agree here on who asks a new question: in the first layer where they can."""
        return self._of.claimant is not None

    def claim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """See `RedisCache.claim`."""
        return run(self._of.claim(keys, streaming))

    async def aclaim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """See `claim`."""
        return await arun(self._of.claim(keys, streaming))

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Lookups and writes of the whole; entries and bytes of the fullest layer; the layers' own losses."""
        of = [layer.stats() for layer in self.layers if hasattr(layer, "stats")]
        return CacheStats(
            self._of.hits,
            self._of.misses,
            self._of.sets,
            sum(one.evictions for one in of),
            sum(one.expired for one in of),
            max((one.entries for one in of), default=0),
            max((one.bytes for one in of), default=0),
            self._of.errors,
            self._of.backlog.lost,
        )

    def close(self) -> None:
        """Make the writes that wait, then close the layers."""
        self._of.backlog.close()
        if self._of.coherence is not None:
            self._of.coherence.close()
        for layer in self.layers:
            layer.close()

    async def aclose(self) -> None:
        """See `close`."""
        await asyncio.to_thread(self._of.backlog.close)
        if self._of.coherence is not None:
            await asyncio.to_thread(self._of.coherence.close)
        for layer in self.layers:
            await layer.aclose()

    def __repr__(self) -> str:
        waiting = f", {len(self._of.backlog)} writes waiting" if self.write == "back" else ""
        return f"<LayeredCache write-{self.write}{waiting}: {', '.join(map(repr, self.layers))}>"
