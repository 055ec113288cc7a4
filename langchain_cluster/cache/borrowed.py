"""Somebody's LangChain cache as a store: `LayeredCache([MemoryCache(), LangChainLayer(SQLiteCache())])`.

A `BaseCache` keeps generations under two texts, and can neither let one of them expire nor find them again.
So what is put into it is one generation whose text says until when it holds and the bytes; what is deleted is
overwritten by an empty one; and only everything can be cleared.
"""

from __future__ import annotations

import binascii
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.outputs import Generation

from langchain_cluster.cache.lifetime import checked, lifetime
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.errors import ConfigError

MODEL = "langchain-cluster"  # in place of a model's: no entry of a model's own is read or overwritten
_START = "lc1|"
_Entry = tuple[bytes, float | None]


class LangChainLayer:
    """A LangChain `BaseCache` as a `CacheStore`.

    Args:
        cache: where the entries go.
        ttl: seconds an entry lives, give or take a tenth; None is for ever.
        clock: seconds since 1970: other processes read the same entries. seed: for the jitter.

    It is asked on threads: nobody knows how long it takes. To clear anything but everything ("*", with what
    others have put there) raises ConfigError, and so does taking back a tenant's answers.
    """

    name = "langchain"

    def __init__(
        self,
        cache: BaseCache,
        ttl: float | None = None,
        *,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        if not isinstance(cache, BaseCache):
            raise ConfigError(f"{type(cache).__name__} is no LangChain BaseCache", key="cache")
        if ttl is not None:
            checked(ttl)
        self.cache, self.ttl = cache, ttl
        self._clock, self._rng = clock, Random(seed)
        self._hits = self._misses = self._sets = 0

    # -- reading ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        return self._counted(self._read(self.cache.lookup(key, MODEL)))

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return self._counted(self._read(await self.cache.alookup(key, MODEL)))

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        return self._read(self.cache.lookup(key, MODEL)) is not None

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return self._read(await self.cache.alookup(key, MODEL)) is not None

    def entries(self, keys: Sequence[str]) -> list[_Entry | None]:
        """As `mget`, each value with the seconds it has left, None for ever."""
        return self._all_counted([self._read(self.cache.lookup(key, MODEL)) for key in keys])

    async def aentries(self, keys: Sequence[str]) -> list[_Entry | None]:
        """See `entries`."""
        return self._all_counted([self._read(await self.cache.alookup(key, MODEL)) for key in keys])

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        return [self.get(key) for key in keys]

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        return [await self.aget(key) for key in keys]

    # -- writing ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, the layer's own if None. Raises ConfigError for another."""
        self.cache.update(key, MODEL, self._written(value, ttl))

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await self.cache.aupdate(key, MODEL, self._written(value, ttl))

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        for key, value in items.items():
            self.set(key, value, ttl)

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        for key, value in items.items():
            await self.aset(key, value, ttl)

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        checked(ttl)
        entry = self._read(self.cache.lookup(key, MODEL))
        if entry is not None:
            self.cache.update(key, MODEL, self._as_text(entry[0], ttl))
        return entry is not None

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        checked(ttl)
        entry = self._read(await self.cache.alookup(key, MODEL))
        if entry is not None:
            await self.cache.aupdate(key, MODEL, self._as_text(entry[0], ttl))
        return entry is not None

    def delete(self, key: str) -> bool:
        """Overwrite an entry by an empty one; whether there was one."""
        there = self.exists(key)
        if there:
            self.cache.update(key, MODEL, [Generation(text="")])
        return there

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        there = await self.aexists(key)
        if there:
            await self.cache.aupdate(key, MODEL, [Generation(text="")])
        return there

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return sum([self.delete(key) for key in keys])

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return sum([await self.adelete(key) for key in keys])

    def clear(self, pattern: str = "*") -> int:
        """Clear the whole cache, also of what others have put there; 0: nobody knows how many there were.

        Raises:
            ConfigError: a pattern that does not mean all: a `BaseCache` cannot name its keys.
        """
        self._everything(pattern)
        self.cache.clear()
        return 0

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        self._everything(pattern)
        await self.cache.aclear()
        return 0

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Counts since the start; how many entries there are nobody knows."""
        return CacheStats(self._hits, self._misses, self._sets)

    def close(self) -> None:
        """Nothing: the cache is its owner's."""

    async def aclose(self) -> None:
        """See `close`."""

    def __repr__(self) -> str:
        return f"<LangChainLayer over a {type(self.cache).__name__}>"

    def _everything(self, pattern: str) -> None:
        if pattern.strip("*") or not pattern:
            raise ConfigError(
                f"a {type(self.cache).__name__} cannot name its keys, so only '*' can be cleared", key="cache"
            )

    def _written(self, value: bytes, ttl: float | None) -> list[Generation]:
        text = self._as_text(value, lifetime(ttl, self.ttl, self._rng))
        self._sets += 1
        return text

    def _as_text(self, value: bytes, lives: float | None) -> list[Generation]:
        until = "" if lives is None else repr(self._clock() + lives)
        return [Generation(text=f"{_START}{until}|{b64encode(value).decode()}")]

    def _read(self, found: Any) -> _Entry | None:
        """An entry as it was written; None for anything else."""
        text = getattr(found[0], "text", None) if isinstance(found, Sequence) and found else None
        if not isinstance(text, str) or not text.startswith(_START):
            return None
        until, _, held = text.removeprefix(_START).partition("|")
        try:
            left = None if not until else float(until) - self._clock()
            value = b64decode(held, validate=True)
        except (ValueError, binascii.Error):
            return None
        return None if left is not None and not left > 0.0 else (value, left)

    def _all_counted(self, entries: list[_Entry | None]) -> list[_Entry | None]:
        for entry in entries:
            self._counted(entry)
        return entries

    def _counted(self, entry: _Entry | None) -> bytes | None:
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        return entry[0]


def as_store(given: Any) -> Any:
    """A LangChain cache as a store; anything else as it is."""
    return LangChainLayer(given) if isinstance(given, BaseCache) else given
