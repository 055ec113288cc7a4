"""A cache in a Redis (or Valkey) that processes share: one round trip for a look and one for a write.

What goes wrong there is one exception, `CacheUnavailable`, which a plan turns into a miss (`guarded.py`).
Which commands are sent is said in `keyspace.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import inf
from random import Random
from typing import Any, Self

from langchain_cluster.cache import keyspace as ks
from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.claims import STREAMING, Claim, Claims
from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.guarded import Guarded
from langchain_cluster.cache.lifetime import checked, lifetime
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
        seed: for the jitter.

    Raises:
        ConfigError: a prefix that is no text, or a ttl that is no number of seconds > 0.
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
        seed: int | None = None,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigError(f"prefix {prefix!r} is not a text", key="cache")
        if ttl is not None:
            checked(ttl)
        if lease is not None:
            checked(lease, "lease")
        self.clients, self.prefix, self.ttl, self.lease = clients, prefix, ttl, lease
        self._rng = Random(seed)
        self._space = ks.Keyspace(prefix, cluster=clients.address.kind == "cluster")
        self._guarded = Guarded(clients, breaker, self._rng)
        self._claims = Claims(lease, self._renew, self._give)
        self._hits = self._misses = self._sets = 0

    @classmethod
    def from_url(
        cls,
        url: str,
        prefix: str = PREFIX,
        ttl: float | None = None,
        *,
        username_env: str | None = None,
        password_env: str | None = None,
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
        return cls(clients, prefix, ttl, lease=lease, breaker=breaker, seed=seed)

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most; infinite if nobody can say."""
        return self._guarded.longest

    @property
    def breaker(self) -> CircuitBreaker:
        """The circuit to the server; in a cluster, of what concerns several masters or none in particular."""
        return self._guarded.breaker

    @property
    def masters(self) -> Mapping[str, CircuitBreaker]:
        """In a cluster, the circuit to each master that was asked, by "host:port"."""
        return self._guarded.masters

    # -- reading ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        return self._looked(self._of_one(ks.get, key))

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return self._looked(await self._aof_one(ks.get, key))

    def entries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """As `mget`, each value with the seconds it has left, None for ever; one round trip too."""
        if not keys:
            return []
        return self._entered(self._of_all(ks.entries, keys))

    async def aentries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """See `entries`."""
        if not keys:
            return []
        return self._entered(await self._aof_all(ks.entries, keys))

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        if not keys:
            return []
        return self._all_looked(self._of_all(self._space.mget, keys))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        if not keys:
            return []
        return self._all_looked(await self._aof_all(self._space.mget, keys))

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        return bool(self._of_one(ks.exists, key))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await self._aof_one(ks.exists, key))

    # -- writing ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, the cache's own if None. Raises ConfigError for another."""
        self._of_one(ks.put, key, value, self._milliseconds(ttl))
        self._sets += 1

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await self._aof_one(ks.put, key, value, self._milliseconds(ttl))
        self._sets += 1

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        if commands := self._sets_of(items, ttl):
            self._guarded.ask([c[1] for c in commands], ks.each, commands)
            self._sets += len(items)

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        if commands := self._sets_of(items, ttl):
            await self._guarded.aask([c[1] for c in commands], ks.each, commands)
            self._sets += len(items)

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(self._of_one(ks.expire, key, ks.whole(checked(ttl))))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await self._aof_one(ks.expire, key, ks.whole(checked(ttl))))

    def delete(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        return bool(self._of_one(ks.delete, key))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await self._aof_one(ks.delete, key))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return self._of_all(self._unlinked, keys) if keys else 0

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return await self._aof_all(self._aunlinked, keys) if keys else 0

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob (`cache/glob.py`); how many there were.

        Goes through all keys of the server in steps, which holds nobody up. What is written meanwhile may
        stay.
        """
        return self.remove(Selection((pattern,)))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return await self.aremove(Selection((pattern,)))

    def remove(self, selected: Selection) -> int:
        """See `clear`."""
        return self._guarded.ask((), lambda client: ks.run(self._space.remove(client, selected)))

    async def aremove(self, selected: Selection) -> int:
        """See `clear`."""
        return int(await self._guarded.aask((), lambda client: ks.arun(self._space.remove(client, selected))))

    # -- one of many processes asks -------------------------------------------------------------------

    @property
    def claims(self) -> bool:
        """Whether processes agree here on who asks a new question."""
        return self.lease is not None

    def claim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """Claim a question by the keys its answer may lie under: one round trip.

        Args:
            keys: at least one; the first stands for the question.
            streaming: the answer will come at the pace of whoever reads it.
        """
        token = self._claims.token(streaming=streaming)
        return self._claimed(keys, token, self._of_all(ks.claim, keys, token, ks.whole(self.lease or LEASE)))

    async def aclaim(self, keys: Sequence[str], streaming: bool = False) -> Claimed:
        """See `claim`."""
        token, lasts = self._claims.token(streaming=streaming), ks.whole(self.lease or LEASE)
        return self._claimed(keys, token, await self._aof_all(ks.claim, keys, token, lasts))

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Counts of this process; entries and bytes are the server's, under this prefix.

        Those are counted by going through the keys, of at least a hundred thousand; none while it is away.
        Evictions and expiries happen there and are not told.
        """
        entries = size = 0
        try:
            entries, size = self._guarded.ask((), lambda client: ks.run(self._space.walk(client)))
        except CacheUnavailable:
            pass
        errors = self._guarded.errors
        return CacheStats(self._hits, self._misses, self._sets, entries=entries, bytes=size, errors=errors)

    def peek(self, key: str) -> bytes | None:
        """As `get`, without counting; None too when it cannot be asked."""
        try:
            return self._of_one(ks.get, key)  # type: ignore[no-any-return]
        except CacheUnavailable:
            return None

    def listen(
        self,
        *,
        changed: Callable[[list[str] | None], None],
        ready: Callable[[], None],
        lost: Callable[[], None],
    ) -> Tracking:
        """Be told of every key of ours that changes in the server, on a thread, until its `close`.

        Args:
            changed: told the keys, or None for all of them. ready, lost: when it is listened to, or no more.
        """

        def told(keys: list[bytes] | None) -> None:
            changed(None if keys is None else [self._space.text(key) for key in keys])

        prefix = self.prefix.encode("utf-8", "surrogatepass")
        return Tracking(self.clients, prefix, changed=told, ready=ready, lost=lost)

    def close(self) -> None:
        """Close all connections; whoever asks again opens new ones."""
        self._claims.close()
        self._guarded.forget()
        self.clients.close()

    async def aclose(self) -> None:
        """See `close`."""
        await asyncio.to_thread(self._claims.close)
        self._guarded.forget()
        await self.clients.aclose()

    def __repr__(self) -> str:
        asked = self._hits + self._misses
        hits = f"{self._hits / asked:.0%} hits" if asked else "not asked yet"
        where, state = self.clients.address, self._guarded.state
        return f"<RedisCache {where}, prefix {self.prefix!r}, {state}, {hits}>"

    # -- claims ---------------------------------------------------------------------------------------

    def _renew(self, claims: list[bytes]) -> None:
        assert self.lease is not None
        self._guarded.ask(claims, ks.renew, claims, ks.whole(self.lease))

    def _give(self, claim: bytes, token: bytes, shared: bool) -> None:
        script = ks.END if shared else ks.END_OPEN
        self._guarded.ask([claim], lambda client: client.eval(script, 1, claim, token))

    def _claimed(self, keys: Sequence[str], token: bytes, said: list[Any]) -> Claimed:
        mine, values, holder = said[0], said[1:-1], said[-1]
        claim: Claim | None = None
        if mine:
            claim = self._claims.hold(self._space.key(keys[0]) + ks.CLAIM, token)
        raw = next((value for value in values if value is not None), None)
        streaming = holder is not None and holder.startswith(STREAMING)
        return Claimed(raw, self.name, claim, streaming=streaming, alone=holder == ks.OPEN)

    # -- how it asks ----------------------------------------------------------------------------------

    def _of_one(self, ask: Callable[..., Any], key: str, *given: Any) -> Any:
        whole = self._space.key(key)
        return self._guarded.ask((whole,), ask, whole, *given)

    async def _aof_one(self, ask: Callable[..., Any], key: str, *given: Any) -> Any:
        whole = self._space.key(key)
        return await self._guarded.aask((whole,), ask, whole, *given)

    def _of_all(self, ask: Callable[..., Any], keys: Sequence[str], *given: Any) -> Any:
        whole = [self._space.key(key) for key in keys]
        return self._guarded.ask(whole, ask, whole, *given)

    async def _aof_all(self, ask: Callable[..., Any], keys: Sequence[str], *given: Any) -> Any:
        whole = [self._space.key(key) for key in keys]
        return await self._guarded.aask(whole, ask, whole, *given)

    def _unlinked(self, client: Any, keys: list[bytes]) -> int:
        return ks.run(self._space.unlink(client, keys))

    async def _aunlinked(self, client: Any, keys: list[bytes]) -> int:
        return await ks.arun(self._space.unlink(client, keys))

    def _milliseconds(self, ttl: float | None) -> int | None:
        lives = lifetime(ttl, self.ttl, self._rng)
        return None if lives is None else ks.whole(lives)

    def _sets_of(self, items: Mapping[str, bytes], ttl: float | None) -> list[tuple[Any, ...]]:
        if ttl is not None:
            checked(ttl)
        key = self._space.key
        return [ks.put_command(key(name), value, self._milliseconds(ttl)) for name, value in items.items()]

    def _looked(self, value: Any) -> bytes | None:
        if value is None:
            self._misses += 1
            return None
        self._hits += 1
        return value  # type: ignore[no-any-return]

    def _all_looked(self, values: list[Any]) -> list[bytes | None]:
        return [self._looked(value) for value in values]

    def _entered(self, found: list[Any]) -> list[tuple[bytes, float | None] | None]:
        read: list[tuple[bytes, float | None] | None] = []
        for value, left in zip(found[::2], found[1::2], strict=True):
            looked = self._looked(value)
            read.append(None if looked is None else (looked, None if left < 0 else max(left, 1) / 1000))
        return read
