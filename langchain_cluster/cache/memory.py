"""A cache in the process: a dict, with an order to evict by and a time to live.

The hit path takes no lock: under `sieve`, the default, a hit only sets a mark (`order.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from math import inf
from random import Random
from threading import Lock
from typing import Literal, NamedTuple, get_args

from langchain_cluster.cache.lifetime import checked, lifetime
from langchain_cluster.cache.order import ORDERS, Entry, Order
from langchain_cluster.cache.pressure import memory_is_short
from langchain_cluster.cache.selection import Invalidates, Selection
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.cache.twins import AsyncTwins
from langchain_cluster.errors import ConfigError

EvictionPolicy = Literal["lru", "lfu", "fifo", "ttl", "sieve"]
_LOOKS = 1.0  # seconds between two looks at the memory of the machine
_SWEPT = 4  # entries looked at for expiry with each write: the sweep is faster than the writer


class Hot(NamedTuple):
    """An entry that is read often: how often so far, and the seconds it has left (None: for ever)."""

    key: str
    uses: int
    value: bytes
    ttl: float | None


class MemoryCache(AsyncTwins, Invalidates):
    """Bytes in a bounded dict.

    Args:
        max_entries: entries kept at most, >= 1; None is unbounded.
        max_bytes: bytes of values kept at most, >= 1; None is unbounded. A larger value is not kept.
        policy: who leaves when it is full. "sieve": who was not used since the hand last came by;
            "lru": least recently used; "lfu": least often used; "fifo": oldest; "ttl": next to expire.
        ttl: seconds an entry lives, give or take a tenth; None is for ever.
        weak: entries may go before that when memory is short (`cache/pressure.py`): a write looks, at most
            once a second, and lets a quarter of them go. True, or a function that tells whether it is.
        clock: monotonic seconds. seed: for the jitter.

    Raises:
        ConfigError: an unknown policy, or a bound that is no number >= 1.
    """

    name = "memory"
    longest = 0.0

    def __init__(
        self,
        max_entries: int | None = 10_000,
        max_bytes: int | None = None,
        policy: EvictionPolicy = "sieve",
        ttl: float | None = None,
        *,
        weak: bool | Callable[[], bool] = False,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        for name, bound in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if bound is not None and not (type(bound) is int and bound >= 1):
                raise ConfigError(f"{name} {bound!r} is not an integer >= 1", key="cache")
        if policy not in get_args(EvictionPolicy):
            raise ConfigError(
                f"unknown policy {policy!r}", key="cache", valid=get_args(EvictionPolicy), got=str(policy)
            )
        if ttl is not None:
            checked(ttl)
        if not isinstance(weak, bool) and not callable(weak):
            raise ConfigError(f"weak {weak!r} is neither True, False nor a function", key="cache")
        self._short = memory_is_short if weak is True else weak or None
        self._looked = -inf  # when memory was looked at last
        self.max_entries, self.max_bytes, self.policy, self.ttl = max_entries, max_bytes, policy, ttl
        self._clock, self._rng = clock, Random(seed)
        self._entries: dict[str, Entry] = {}
        self._order: Order = ORDERS[policy]()
        self._hears_hits = policy == "lru"
        self._lock = Lock()
        self._bytes = 0
        self._hits = self._misses = self._sets = self._evictions = self._expired = 0
        self._sweep: Iterator[str] = iter(())  # where the sweep for expired entries stands

    # -- reading ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        # What a hit costs is counted in tens of nanoseconds: no call is made that need not be.
        try:
            entry = self._entries[key]
        except KeyError:
            self._misses += 1
            return None
        if entry.expires is not inf and entry.expires <= self._clock():
            self._misses += 1
            return None
        self._hits += 1
        entry.uses += 1
        if self._hears_hits:
            with self._lock:
                self._order.used(key)
        return entry.value

    def entries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """As `mget`, each value with the seconds it has left, None for ever."""
        found: list[tuple[bytes, float | None] | None] = []
        for key in keys:
            value, entry = self.get(key), self._entries.get(key)
            if value is None or entry is None or entry.value is not value:
                found.append(None)
            else:
                left = None if entry.expires == inf else max(entry.expires - self._clock(), 1e-3)
                found.append((value, left))
        return found

    async def aentries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """See `entries`."""
        return self.entries(keys)

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        entry = self._entries.get(key)
        return entry is not None and entry.expires > self._clock()

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        return [self.get(key) for key in keys]

    def hottest(self, limit: int) -> list[Hot]:
        """The entries read most often, at most `limit`; those never read are not among them."""
        now = self._clock()
        with self._lock:  # nobody writes meanwhile
            read = [(e.uses, key, e) for key, e in self._entries.items() if e.uses and e.expires > now]
        best = nlargest(limit, read, key=lambda found: found[0])
        return [
            Hot(key, uses, e.value, None if e.expires == inf else e.expires - now) for uses, key, e in best
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def stats(self) -> CacheStats:
        """Counts since the start."""
        return CacheStats(
            self._hits,
            self._misses,
            self._sets,
            self._evictions,
            self._expired,
            len(self._entries),
            self._bytes,
        )

    # -- writing ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, the cache's own if None. Raises ConfigError for another."""
        lives = lifetime(ttl, self.ttl, self._rng)
        expires = inf if lives is None else self._clock() + lives
        with self._lock:
            self._drop(key)
            self._sets += 1
            if self.max_bytes is not None and len(value) > self.max_bytes:
                return
            entry = self._entries[key] = Entry(value, expires)
            self._order.added(key, entry)
            self._bytes += len(value)
            self._expire_some()
            if self._short is not None:
                self._give_way(self._short)
            while self._too_full():
                self._drop(self._order.victim(self._entries))
                self._evictions += 1

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        for key, value in items.items():
            self.set(key, value, ttl)

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        checked(ttl)
        with self._lock:
            entry = self._entries.get(key)
            now = self._clock()
            if entry is None or entry.expires <= now:
                return False
            entry.expires = now + ttl
            self._order.changed(key, entry)
            return True

    def delete(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        with self._lock:
            alive = self.exists(key)
            self._drop(key)
            return alive

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return sum(self.delete(key) for key in keys)

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob (`cache/glob.py`); how many there were."""
        return self.remove(Selection((pattern,)))

    def remove(self, selected: Selection) -> int:
        """See `clear`."""
        now = self._clock()
        with self._lock:
            gone = {k: e for k, e in self._entries.items() if selected.means(k) and selected.has(e.value)}
            for key in gone:
                self._drop(key)
            return sum(entry.expires > now for entry in gone.values())

    async def aremove(self, selected: Selection) -> int:
        """See `clear`."""
        return self.remove(selected)

    def close(self) -> None:
        """Nothing to give back: another cluster may share it, and reads on."""

    # -- under the lock -----------------------------------------------------------------------------

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._order.removed(key)
            self._bytes -= len(entry.value)

    def _give_way(self, short: Callable[[], bool]) -> None:
        """Let some go when memory is short, those that would go first anyway."""
        now = self._clock()
        if now - self._looked < _LOOKS:
            return
        self._looked = now
        if short():
            for _ in range(max(1, len(self._entries) // 4)):
                if len(self._entries) < 2:  # the newest stays
                    return
                self._drop(self._order.victim(self._entries))
                self._evictions += 1

    def _too_full(self) -> bool:
        if self.max_entries is not None and len(self._entries) > self.max_entries:
            return True
        return self.max_bytes is not None and self._bytes > self.max_bytes

    def _expire_some(self) -> None:
        """Look at a few entries with each write: nothing expired stays for ever, no thread is needed."""
        now = self._clock()
        keys = list(islice(self._sweep, _SWEPT))
        if not keys:
            self._sweep = iter(list(self._entries))
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and entry.expires <= now:
                self._drop(key)
                self._expired += 1

    def __repr__(self) -> str:
        bound = "" if self.max_entries is None else f" of {self.max_entries}"
        hits = self.stats().hit_ratio
        return f"<MemoryCache {self.policy}, {len(self._entries)}{bound} entries, {hits:.0%} hits>"
