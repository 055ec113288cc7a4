"""A cache in a Redis (or Valkey) that processes share: one round trip for a look and one for a write.

What goes wrong there is one exception, `CacheUnavailable`, which a plan turns into a miss (`guarded.py`).
Which commands are sent is said in `keyspace.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any, Self

from langchain_cluster.cache import keyspace as ks
from langchain_cluster.cache.address import RedisAddress, variable
from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.lifetime import checked
from langchain_cluster.cache.prefixed import Prefixed
from langchain_cluster.cache.redis_claims import RedisClaims
from langchain_cluster.cache.seal import LEAST, LENGTH, Seal
from langchain_cluster.cache.selection import Invalidates, Selection
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.cache.tracking import Tracking
from langchain_cluster.errors import CacheUnavailable, ConfigError
from langchain_cluster.guard.breaker import CircuitBreaker
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.plan.effects import Claimed

PREFIX = "lc:cache:"
LEASE = 3.0  # seconds


class RedisCache(Invalidates):
    """Bytes in a Redis: one server, a master that sentinels know, or a cluster.

    Args:
        clients: makes connections; `from_url` is the usual way.
        prefix: of every key; `clear` and `stats` see no others. With a hash tag in it (`{...}`) everything
            lies on one node of a cluster.
        ttl: seconds an entry lives, give or take a tenth; None is for ever.
        lease: of processes that ask one new question one asks, and the others wait for its answer. Seconds
            they wait, > 0, for one that has died; None: each asks for itself.
        breaker: when to leave the server alone for a while.
        secret: of a seal on each value (`cache/seal.py`), at least 16 bytes: what others wrote is none.
        seed: for the jitter.

    Raises:
        ConfigError: a prefix that is no text, a ttl that is no number of seconds > 0, a short secret.
    """

    name = "redis"

    def __init__(
        self,
        clients: Clients,
        prefix: str = PREFIX,
        ttl: float | None = None,
        *,
        lease: float | None = LEASE,
        breaker: BreakerPolicy | None = None,
        secret: bytes | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigError(f"prefix {prefix!r} is not a text", key="cache")
        if ttl is not None:
            checked(ttl)
        if lease is not None:
            checked(lease, "lease")
        if secret is not None and len(secret) < LEAST:
            raise ConfigError(f"a secret of {len(secret)} bytes: give at least {LEAST}", key="cache.secret")
        self._seal = Seal(secret)
        self.clients, self.prefix, self.ttl, self.lease = clients, prefix, ttl, lease
        self._at = Prefixed(clients, prefix, ttl, breaker, Random(seed))
        self._claims = RedisClaims(self._at, self.name, lease or LEASE)

    @classmethod
    def from_url(
        cls,
        url: str,
        prefix: str = PREFIX,
        ttl: float | None = None,
        *,
        username_env: str | None = None,
        password_env: str | None = None,
        secret_env: str | None = None,
        cluster: bool = False,
        connect_timeout: float = 0.3,
        timeout: float = 0.3,
        lease: float | None = LEASE,
        breaker: BreakerPolicy | None = None,
        seed: int | None = None,
    ) -> Self:
        """A cache at an address (`cache/address.py` lists the forms). Nothing connects yet.

        Args:
            url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`.
            username_env, password_env: names of environment variables; they win over the url's own.
            secret_env: name of the one with the secret of a seal on each value.
            cluster: `redis://` is one node of a cluster.
            connect_timeout, timeout: seconds to connect, and to wait for a reply, > 0.

        Raises:
            ConfigError: the url is none, a variable is not set, or a time is no number of seconds > 0.
            ImportError: redis-py is not installed; it says how to.
        """
        for name, seconds in (("connect_timeout", connect_timeout), ("timeout", timeout)):
            if type(seconds) not in (int, float) or not 0 < seconds < inf:
                raise ConfigError(f"{name} {seconds!r} is not a number of seconds > 0", key="cache")
        address = RedisAddress.parse(url, cluster=cluster).signed_in(username_env, password_env)
        clients = Clients(address, connect_timeout=connect_timeout, timeout=timeout)
        secret = None if secret_env is None else variable(secret_env, "secret_env").encode()
        return cls(clients, prefix, ttl, lease=lease, breaker=breaker, secret=secret, seed=seed)

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most; infinite if nobody can say."""
        return self._at.guarded.longest

    @property
    def breaker(self) -> CircuitBreaker:
        """The circuit to the server; in a cluster, of what concerns several masters or none in particular."""
        return self._at.guarded.breaker

    @property
    def masters(self) -> Mapping[str, CircuitBreaker]:
        """In a cluster, the circuit to each master that was asked, by "host:port"."""
        return self._at.guarded.masters

    # -- reading ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        return self._at.looked(self._seal.opened(key, self._at.one(ks.get, key)))

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return self._at.looked(self._seal.opened(key, await self._at.aone(ks.get, key)))

    def entries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """As `mget`, each value with the seconds it has left, None for ever; one round trip too."""
        if not keys:
            return []
        return self._entered(keys, self._at.several(ks.entries, keys))

    async def aentries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """See `entries`."""
        if not keys:
            return []
        return self._entered(keys, await self._at.aseveral(ks.entries, keys))

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        if not keys:
            return []
        return self._all_looked(keys, self._at.several(self._at.keys.mget, keys))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        if not keys:
            return []
        return self._all_looked(keys, await self._at.aseveral(self._at.keys.mget, keys))

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        return bool(self._at.one(ks.exists, key))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await self._at.aone(ks.exists, key))

    def _all_looked(self, keys: Sequence[str], raws: list[Any]) -> list[bytes | None]:
        return self._at.all_looked([*map(self._seal.opened, keys, raws)])

    def _entered(self, keys: Sequence[str], found: list[Any]) -> list[tuple[bytes, float | None] | None]:
        found[::2] = map(self._seal.opened, keys, found[::2])
        return self._at.entered(found)

    # -- writing ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, the cache's own if None. Raises ConfigError for another."""
        self._at.one(ks.put, key, self._seal.sealed(key, value), self._at.milliseconds(ttl))
        self._at.sets += 1

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await self._at.aone(ks.put, key, self._seal.sealed(key, value), self._at.milliseconds(ttl))
        self._at.sets += 1

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        self._at.write(self._seal.all_sealed(items), ttl)

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        await self._at.awrite(self._seal.all_sealed(items), ttl)

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(self._at.one(ks.expire, key, ks.whole(checked(ttl))))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await self._at.aone(ks.expire, key, ks.whole(checked(ttl))))

    def delete(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        return bool(self._at.one(ks.delete, key))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await self._at.aone(ks.delete, key))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return self._at.several(self._at.unlink, keys) if keys else 0

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return await self._at.aseveral(self._at.aunlink, keys) if keys else 0

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob (`cache/glob.py`); how many there were.

        Goes through all keys in steps, which holds nobody up. What is written meanwhile may stay.
        """
        return self.remove(Selection((pattern,)))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return await self.aremove(Selection((pattern,)))

    def remove(self, selected: Selection) -> int:
        """See `clear`."""
        return int(self._at.everywhere(lambda client: self._at.keys.remove(client, selected)))

    async def aremove(self, selected: Selection) -> int:
        """See `clear`."""
        return int(await self._at.aeverywhere(lambda client: self._at.keys.remove(client, selected)))

    # -- one of many processes asks -------------------------------------------------------------------

    @property
    def claims(self) -> bool:
        """Whether processes agree here on who asks a new question."""
        return self.lease is not None

    def claim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """Claim a question by the keys its answer may lie under, the first standing for it: one round trip.

        `streaming`: the answer will come at the pace of whoever reads it.
        """
        return self._ours(keys, self._claims.claim(keys, streaming))

    async def aclaim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """See `claim`."""
        return self._ours(keys, await self._claims.aclaim(keys, streaming))

    def _ours(self, keys: Sequence[str], claimed: Claimed) -> Claimed:
        if not self._seal.seals or claimed.raw is None:
            return claimed
        opened = (self._seal.opened(key, claimed.raw) for key in keys)
        return replace(claimed, raw=next((raw for raw in opened if raw is not None), None))

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Counts of this process; entries and bytes are the server's, under this prefix.

        Those are counted key by key, at least a hundred thousand; none while it is away. Evictions and
        expiries happen there and are not told.
        """
        entries = size = 0
        try:
            entries, size = self._at.everywhere(self._at.keys.walk)
            size -= entries * LENGTH if self._seal.seals else 0
        except CacheUnavailable:
            pass
        errors = self._at.guarded.errors
        return CacheStats(
            self._at.hits, self._at.misses, self._at.sets, entries=entries, bytes=size, errors=errors
        )

    def peek(self, key: str) -> bytes | None:
        """As `get`, without counting; None too when it cannot be asked."""
        try:
            return self._seal.opened(key, self._at.one(ks.get, key))
        except CacheUnavailable:
            return None

    def listen(
        self,
        *,
        changed: Callable[[list[str] | None], None],
        ready: Callable[[], None],
        lost: Callable[[], None],
    ) -> Tracking:
        """Be told of every key of ours that changes there, on a thread, until its `close`: see `Tracking`."""

        def told(keys: list[bytes] | None) -> None:
            changed(None if keys is None else [self._at.keys.text(key) for key in keys])

        prefix = self.prefix.encode("utf-8", "surrogatepass")
        return Tracking(self.clients, prefix, changed=told, ready=ready, lost=lost)

    def close(self) -> None:
        """Close all connections; whoever asks again opens new ones."""
        self._claims.close()
        self._at.guarded.forget()
        self.clients.close()

    async def aclose(self) -> None:
        """See `close`."""
        await asyncio.to_thread(self._claims.close)
        self._at.guarded.forget()
        await self.clients.aclose()

    def __repr__(self) -> str:
        asked = self._at.hits + self._at.misses
        hits = f"{self._at.hits / asked:.0%} hits" if asked else "not asked yet"
        where, state = self.clients.address, self._at.guarded.state
        return f"<RedisCache {where}, prefix {self.prefix!r}, {state}, {hits}>"
