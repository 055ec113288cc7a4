"""A cache in a Redis (or Valkey) that processes share: one round trip for a look and one for a write.

What goes wrong there is one exception, `CacheUnavailable`, which a plan turns into a miss. A breaker of the
store's own sees to it that a Redis that is away costs one timeout now and then, not one per call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from math import inf
from random import Random
from typing import Any, Self, TypeVar

from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.glob import matcher, wider
from langchain_cluster.cache.lifetime import checked, lifetime
from langchain_cluster.cache.stats import CacheStats
from langchain_cluster.cache.tracking import Tracking
from langchain_cluster.errors import CacheUnavailable, ConfigError
from langchain_cluster.extras import need
from langchain_cluster.guard.breaker import CircuitBreaker, Permit
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.policy import BreakerPolicy

T = TypeVar("T")
PREFIX = "lc:cache:"
BATCH = 1000  # keys a step of SCAN looks at, and keys removed at once
WALK = 100  # steps of SCAN that `stats` takes at most
LONGEST_TTL = 10**12  # milliseconds, 31 years: the server adds it to the time of day, and that must fit

# The first failure opens it: the next has to wait for another timeout. Of a cluster's masters the others are
# well when one is away, so there it takes more.
BREAKER = BreakerPolicy(consecutive_failures=1, open_for=1.0, max_open=15.0)
CLUSTER_BREAKER = BreakerPolicy(consecutive_failures=5, open_for=1.0, max_open=15.0)

# Of the timeout: whoever leaves after so long has waited for a server that hangs, and says so.
LONG_ENOUGH = 0.2

Steps = Generator[Any, Any, T]


class _Time:
    now = staticmethod(time.monotonic)


class RedisCache:
    """Bytes in a Redis: one server, a master that sentinels know, or a cluster.

    Args:
        clients: makes connections; `from_url` is the usual way.
        prefix: of every key; `clear` and `stats` see no others. With a hash tag in it (`{...}`) everything
            lies on one node of a cluster.
        ttl: seconds an entry lives, give or take a tenth; None is for ever.
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
        breaker: BreakerPolicy | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigError(f"prefix {prefix!r} is not a text", key="cache")
        if ttl is not None:
            checked(ttl)
        self.clients, self.prefix, self.ttl = clients, prefix, ttl
        self._rng = Random(seed)
        self._cluster = clients.address.kind == "cluster"
        policy = breaker or (CLUSTER_BREAKER if self._cluster else BREAKER)
        self.breaker = CircuitBreaker(policy, _Time(), rng=self._rng)
        errors = need("redis.exceptions", extra="redis", for_="RedisCache")
        # The server has said no, and at once: it is there. (Unless it says that it cannot serve.)
        self._refusals: tuple[type[Exception], ...] = (errors.ResponseError,)
        self._away: tuple[type[Exception], ...] = (
            errors.ClusterDownError, errors.ReadOnlyError, errors.TryAgainError, errors.MasterDownError,
        )  # fmt: skip
        self._well = False
        self._hits = self._misses = self._sets = self._errors = 0

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
        return cls(clients, prefix, ttl, breaker=breaker, seed=seed)

    @property
    def longest(self) -> float:
        """Seconds an operation may block at most by the timeouts of its own; infinite if nobody can say.

        It is when the last one failed or nothing was asked yet: a name may have to be looked up, which no
        timeout of ours ends. And in a cluster, where one question may go to several nodes.
        """
        if self._cluster or not self._well:
            return inf
        return self.clients.connect_timeout + 2 * self.clients.timeout

    # -- reading ------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        """The value, None if absent or expired."""
        return self._looked(self._ask(_get, self._key(key)))

    async def aget(self, key: str) -> bytes | None:
        """See `get`."""
        return self._looked(await self._aask(_get, self._key(key)))

    def entries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """As `mget`, each value with the seconds it has left, None for ever; one round trip too."""
        if not keys:
            return []
        return self._entered(self._ask(_entries, [self._key(key) for key in keys]))

    async def aentries(self, keys: Sequence[str]) -> list[tuple[bytes, float | None] | None]:
        """See `entries`."""
        if not keys:
            return []
        return self._entered(await self._aask(_entries, [self._key(key) for key in keys]))

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in the order of `keys`, None for each absent one."""
        if not keys:
            return []
        return self._all_looked(self._ask(self._mget, [self._key(key) for key in keys]))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `mget`."""
        if not keys:
            return []
        return self._all_looked(await self._aask(self._mget, [self._key(key) for key in keys]))

    def exists(self, key: str) -> bool:
        """Whether there is a value; counts as no lookup."""
        return bool(self._ask(_exists, self._key(key)))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await self._aask(_exists, self._key(key)))

    # -- writing ------------------------------------------------------------------------------------

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` for `ttl` seconds, > 0, the cache's own if None. Raises ConfigError for another."""
        self._ask(_set, self._key(key), value, self._milliseconds(ttl))
        self._sets += 1

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `set`."""
        await self._aask(_set, self._key(key), value, self._milliseconds(ttl))
        self._sets += 1

    def mset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """Keep all of `items`."""
        if commands := self._sets_of(items, ttl):
            self._ask(_each, commands)
            self._sets += len(items)

    async def amset(self, items: Mapping[str, bytes], ttl: float | None = None) -> None:
        """See `mset`."""
        if commands := self._sets_of(items, ttl):
            await self._aask(_each, commands)
            self._sets += len(items)

    def expire(self, key: str, ttl: float) -> bool:
        """Let an entry live `ttl` seconds from now, > 0; False if there is none."""
        return bool(self._ask(_expire, self._key(key), _whole(checked(ttl))))

    async def aexpire(self, key: str, ttl: float) -> bool:
        """See `expire`."""
        return bool(await self._aask(_expire, self._key(key), _whole(checked(ttl))))

    def delete(self, key: str) -> bool:
        """Remove an entry; whether there was one."""
        return bool(self._ask(_delete, self._key(key)))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await self._aask(_delete, self._key(key)))

    def mdelete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        return int(self._ask(self._mdelete, [self._key(key) for key in keys])) if keys else 0

    async def amdelete(self, keys: Sequence[str]) -> int:
        """See `mdelete`."""
        return int(await self._aask(self._amdelete, [self._key(key) for key in keys])) if keys else 0

    def clear(self, pattern: str = "*") -> int:
        """Remove the entries whose key matches a glob (`cache/glob.py`); how many there were.

        Goes through all keys of the server in steps, which holds nobody up. What is written meanwhile may
        stay.
        """
        return int(self._ask(lambda client: _run(self._clear(client, pattern))))

    async def aclear(self, pattern: str = "*") -> int:
        """See `clear`."""
        return int(await self._aask(lambda client: _arun(self._clear(client, pattern))))

    # -- the rest -----------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Counts of this process; entries and bytes are the server's, under this prefix.

        Those are counted by going through the keys, of at least a hundred thousand; none while it is away.
        Evictions and expiries happen there and are not told.
        """
        entries = size = 0
        try:
            entries, size = self._ask(lambda client: _run(self._walk(client)))
        except CacheUnavailable:
            pass
        return CacheStats(
            self._hits, self._misses, self._sets, entries=entries, bytes=size, errors=self._errors
        )

    def peek(self, key: str) -> bytes | None:
        """As `get`, without counting; None too when it cannot be asked."""
        try:
            return self._ask(_get, self._key(key))  # type: ignore[no-any-return]
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
            changed(None if keys is None else [self._text(key) for key in keys])

        prefix = self.prefix.encode("utf-8", "surrogatepass")
        return Tracking(self.clients, prefix, changed=told, ready=ready, lost=lost)

    def close(self) -> None:
        """Close all connections; whoever asks again opens new ones."""
        self._well = False
        self.clients.close()

    async def aclose(self) -> None:
        """See `close`."""
        self._well = False
        await self.clients.aclose()

    def __repr__(self) -> str:
        asked = self._hits + self._misses
        hits = f"{self._hits / asked:.0%} hits" if asked else "not asked yet"
        return (
            f"<RedisCache {self.clients.address}, prefix {self.prefix!r}, {self.breaker.state.value}, {hits}>"
        )

    # -- how it asks --------------------------------------------------------------------------------

    def _ask(self, ask: Callable[..., T], *given: Any) -> T:
        permit = self._permit()
        verdict = Verdict.ABANDONED
        try:
            answer = ask(self.clients.blocking(), *given)
            verdict, self._well = Verdict.OK, True
            return answer
        except Exception as error:
            verdict = self._blame(error)
            raise self._told(error) from None
        finally:
            self.breaker.record(permit, verdict, time.monotonic())

    async def _aask(self, ask: Callable[..., Any], *given: Any) -> Any:
        permit, started = self._permit(), time.monotonic()
        verdict = Verdict.ABANDONED
        try:
            answer = await ask(self.clients.awaited(), *given)
            verdict, self._well = Verdict.OK, True
            return answer
        except Exception as error:
            verdict = self._blame(error)
            raise self._told(error) from None
        except BaseException:
            if time.monotonic() - started >= LONG_ENOUGH * self.clients.timeout:
                verdict, self._well = Verdict.TRANSIENT, False
            raise
        finally:
            self.breaker.record(permit, verdict, time.monotonic())

    def _permit(self) -> Permit:
        permit = self.breaker.try_acquire(time.monotonic())
        if permit is None:
            self._errors += 1
            left = max(0.0, self.breaker.open_until - time.monotonic())
            raise CacheUnavailable(str(self.clients.address), f"left alone for {left:.1f} s more")
        return permit

    def _blame(self, error: Exception) -> Verdict:
        self._errors += 1
        if isinstance(error, self._refusals) and not isinstance(error, self._away):
            return Verdict.OK
        self._well = False
        return Verdict.TRANSIENT

    def _told(self, error: Exception) -> CacheUnavailable:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return CacheUnavailable(str(self.clients.address), self.clients.address.hidden(reason))

    # -- what it asks -------------------------------------------------------------------------------

    def _key(self, key: str) -> bytes:
        return (self.prefix + key).encode("utf-8", "surrogatepass")

    def _text(self, key: bytes) -> str:
        """A key without its prefix. What others have written there need not be text."""
        try:
            return key.decode("utf-8", "surrogatepass")[len(self.prefix) :]
        except UnicodeDecodeError:
            return key.decode("utf-8", "replace")[len(self.prefix) :]

    def _milliseconds(self, ttl: float | None) -> int | None:
        lives = lifetime(ttl, self.ttl, self._rng)
        return None if lives is None else _whole(lives)

    def _sets_of(self, items: Mapping[str, bytes], ttl: float | None) -> list[tuple[Any, ...]]:
        if ttl is not None:
            checked(ttl)
        return [_set_command(self._key(k), value, self._milliseconds(ttl)) for k, value in items.items()]

    def _mget(self, client: Any, keys: list[bytes]) -> Any:
        # In a cluster each node gets its part in one go; MGET itself refuses keys of several slots.
        return _each(client, [("GET", key) for key in keys]) if self._cluster else client.mget(keys)

    def _mdelete(self, client: Any, keys: list[bytes]) -> int:
        if not self._cluster:
            return int(client.unlink(*keys))
        return sum(_each(client, [("UNLINK", key) for key in keys]))

    async def _amdelete(self, client: Any, keys: list[bytes]) -> int:
        if not self._cluster:
            return int(await client.unlink(*keys))
        return sum(await _each(client, [("UNLINK", key) for key in keys]))

    def _scan(self, client: Any, pattern: str, each: Callable[[list[bytes]], Steps[bool]]) -> Steps[None]:
        """Go through the keys of every master in steps, until `each` has seen enough."""
        match = wider(self.prefix, pattern).encode("utf-8", "surrogatepass")
        nodes: list[Any] = [None]
        if self._cluster:
            if hasattr(client, "initialize"):  # asyncio's looks at its cluster with the first command only
                yield client.initialize()
            nodes = client.get_primaries()
        for node in nodes:
            cursor = 0
            where: dict[str, Any] = {} if node is None else {"target_nodes": node}
            while True:
                found = yield client.execute_command("SCAN", cursor, "MATCH", match, "COUNT", BATCH, **where)
                cursor, keys = found
                if isinstance(cursor, dict):  # by node, in a cluster
                    cursor = next(iter(cursor.values()))
                if keys and (yield from each(keys)):
                    return
                if not cursor:
                    break

    def _clear(self, client: Any, pattern: str) -> Steps[int]:
        means, gone = matcher(pattern), 0

        def remove(keys: list[bytes]) -> Steps[bool]:
            nonlocal gone
            meant = [key for key in keys if means(self._text(key))]
            if meant and not self._cluster:
                gone += yield client.unlink(*meant)
            elif meant:
                gone += sum((yield _each(client, [("UNLINK", key) for key in meant])))
            return False

        yield from self._scan(client, pattern, remove)
        return gone

    def _walk(self, client: Any) -> Steps[tuple[int, int]]:
        seen: set[bytes] = set()  # SCAN may name a key twice
        size = steps = 0

        def count(keys: list[bytes]) -> Steps[bool]:
            nonlocal size, steps
            new = [key for key in keys if key not in seen]
            seen.update(new)
            sizes = yield _each(client, [("STRLEN", key) for key in new], strict=False)
            size += sum(number for number in sizes if isinstance(number, int))
            steps += 1
            return steps >= WALK

        yield from self._scan(client, "*", count)
        return len(seen), size

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


# -- one question each, of a client of either colour: what it answers is awaited where it has to be --------


def _get(client: Any, key: bytes) -> Any:
    return client.get(key)


def _exists(client: Any, key: bytes) -> Any:
    return client.exists(key)


def _delete(client: Any, key: bytes) -> Any:
    return client.unlink(key)


def _expire(client: Any, key: bytes, milliseconds: int) -> Any:
    return client.pexpire(key, milliseconds)


def _set(client: Any, key: bytes, value: bytes, milliseconds: int | None) -> Any:
    return client.set(key, value, px=milliseconds)


def _set_command(key: bytes, value: bytes, milliseconds: int | None) -> tuple[Any, ...]:
    return ("SET", key, value) if milliseconds is None else ("SET", key, value, "PX", milliseconds)


def _entries(client: Any, keys: list[bytes]) -> Any:
    return _each(client, [command for key in keys for command in (("GET", key), ("PTTL", key))])


def _each(client: Any, commands: Sequence[tuple[Any, ...]], *, strict: bool = True) -> Any:
    """The answers to several commands, in one go: per node, where there are several."""
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return pipe.execute(raise_on_error=strict)


def _whole(seconds: float) -> int:
    """Milliseconds as the server takes them, at least one."""
    return min(max(1, round(seconds * 1000)), LONGEST_TTL)


def _run(steps: Steps[T]) -> T:
    """Steps whose questions are answered as they are asked."""
    try:
        answer = next(steps)
        while True:
            answer = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def _arun(steps: Steps[T]) -> T:
    """Steps whose questions have to be awaited."""
    try:
        answer = next(steps)
        while True:
            answer = steps.send(await answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
