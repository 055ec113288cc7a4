"""Compares in a Redis that has a search module (RediSearch), for those who run one.

One search index for each length of vectors, made when it is first needed; a scope is a tag in it. It is
this process's own, under a name nobody else has: answers are shared through a journal, not through it.
Vectors stay here too, so that a server that has lost them gets them again. It drops what nobody has used
for `idle` seconds.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Self, TypeVar

from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.clients import Clients
from langchain_cluster.cache.guarded import BREAKER
from langchain_cluster.errors import CacheUnavailable, CircuitOpen, ConfigError
from langchain_cluster.extras import need
from langchain_cluster.guard.breaker import CircuitBreaker
from langchain_cluster.sharing.bounds import some_seconds

T = TypeVar("T")
IDLE = 86_400.0  # seconds
AT_ONCE = 500  # vectors put into it in one go
_ABSENT = ("no such index", "unknown index name", "not found")
Made = tuple[int, int]  # in which process, and how often before


class _Absent(CacheUnavailable):
    """The search index is not there any more."""


class _Time:
    now = staticmethod(time.monotonic)


class RediSearch:
    """Makes the index of a scope: `SemanticCache(index=RediSearch.from_url(...))`.

    Args:
        clients: makes connections; `from_url` is the usual way. No cluster: the module has none.
        idle: seconds after which the server drops what nobody uses, > 0.

    Raises:
        ConfigError: a cluster, or seconds that are none.
    """

    def __init__(self, clients: Clients, *, idle: float = IDLE) -> None:
        if clients.address.kind == "cluster":
            raise ConfigError("a search index lies on one server, not in a cluster", key="RediSearch.url")
        self.clients, self.idle = clients, some_seconds(idle, "RediSearch.idle")
        errors = need("redis.exceptions", extra="redis", for_="RediSearch")
        self._refused: type[Exception] = errors.ResponseError
        self.breaker = CircuitBreaker(
            BREAKER, _Time(), counts=lambda error: not isinstance(error, self._refused)
        )
        self._name = f"lc:vectors:{secrets.token_hex(8)}"
        self._lock = Lock()
        self._made: dict[int, Made] = {}
        self._times = self._scopes = 0

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        idle: float = IDLE,
        username_env: str | None = None,
        password_env: str | None = None,
        connect_timeout: float = 0.3,
        timeout: float = 0.3,
    ) -> Self:
        """One at an address. Nothing connects yet.

        Args:
            url: `redis://`, `rediss://`, `unix://` or `redis+sentinel://`.
            username_env, password_env: names of environment variables; they win over the url's own.
            connect_timeout, timeout: seconds to connect, and to wait for a reply, > 0.

        Raises:
            ConfigError: the url is none, a variable is not set, or seconds are none.
            ImportError: redis-py is not installed; it says how to.
        """
        clients = Clients(
            RedisAddress.parse(url).signed_in(username_env, password_env),
            connect_timeout=some_seconds(connect_timeout, "RediSearch.connect_timeout"),
            timeout=some_seconds(timeout, "RediSearch.timeout"),
        )
        return cls(clients, idle=idle)

    def __call__(self, dimensions: int) -> RediSearchIndex:
        """The index of one more scope.

        Raises:
            ConfigError: the server has no search module. CacheUnavailable: it cannot be asked.
        """
        self.prepare(dimensions)
        with self._lock:
            self._scopes += 1
            return RediSearchIndex(self, dimensions, self._scopes)

    def name(self, dimensions: int) -> str:
        """Of the search index of this length, and what its keys begin with."""
        return f"{self._name}:{os.getpid()}:{dimensions}"

    def prepare(self, dimensions: int) -> Made:
        """Have a search index of this length; another answer than before means that it is a new one.

        Raises:
            ConfigError: the server has no search module. CacheUnavailable: it cannot be asked.
        """
        with self._lock:
            made = self._made.get(dimensions)
            if made is None or made[0] != os.getpid():
                self._create(dimensions)
                self._times += 1
                made = self._made[dimensions] = os.getpid(), self._times
            return made

    def _create(self, dimensions: int) -> None:
        name = self.name(dimensions)
        command = (
            "FT.CREATE", name, "ON", "HASH", "PREFIX", 1, f"{name}:", "TEMPORARY", max(1, round(self.idle)),
            "SKIPINITIALSCAN", "SCHEMA", "scope", "TAG", "vector", "VECTOR", "HNSW", 6,
            "TYPE", "FLOAT32", "DIM", dimensions, "DISTANCE_METRIC", "COSINE",
        )  # fmt: skip
        try:
            self.ask(lambda client: client.execute_command(*command))
        except CacheUnavailable as error:
            if "unknown command" in str(error).lower():
                raise ConfigError(
                    f"{self.clients.address} has no search module (it does not know FT.CREATE): load"
                    " RediSearch there, or leave `index` out",
                    key="SemanticCache.index",
                ) from None
            if "already exists" not in str(error).lower():
                raise

    def forget(self, dimensions: int) -> None:
        """The search index of this length is gone: make it anew when it is needed."""
        with self._lock:
            self._made.pop(dimensions, None)

    def ask(self, question: Callable[[Any], T]) -> T:
        """What the server says. Raises CacheUnavailable."""
        where = str(self.clients.address)
        try:
            with self.breaker.hold():
                return question(self.clients.blocking())
        except CircuitOpen as error:
            raise CacheUnavailable(where, f"left alone for {error.retry_after or 0.0:.1f} s more") from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            lost = isinstance(error, self._refused) and any(word in reason.lower() for word in _ABSENT)
            raise (_Absent if lost else CacheUnavailable)(
                where, self.clients.address.hidden(reason)
            ) from None

    def close(self) -> None:
        """Drop what lies there, and close the connections. Whoever asks again puts it there anew."""
        with self._lock:
            made, self._made = self._made, {}
        for dimensions in made:
            command = "FT.DROPINDEX", self.name(dimensions), "DD"
            with suppress(CacheUnavailable):  # it goes by itself, later
                self.ask(lambda client, command=command: client.execute_command(*command))  # type: ignore[misc]
        self.clients.close()

    def __repr__(self) -> str:
        return f"<RediSearch {self.clients.address}, {self._scopes} scopes>"


class RediSearchIndex:
    """A `VectorIndex` of one scope.

    Args:
        where: the server. dimensions: of its vectors. scope: a number, its tag.
    """

    def __init__(self, where: RediSearch, dimensions: int, scope: int) -> None:
        self._where, self.dimensions, self._scope = where, dimensions, scope
        self._numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
        self._vectors: dict[int, Any] = {}
        self._in: Made | None = None

    def add(self, id: int, vector: Any) -> None:
        """Keep one. Raises CacheUnavailable."""
        self._vectors[id] = vector
        self._use(lambda client: self._put(client, [id]))

    def remove(self, id: int) -> None:
        """Drop one; an unknown id is no error. Raises CacheUnavailable."""
        if self._vectors.pop(id, None) is not None:
            self._use(lambda client: client.unlink(self._key(id)))

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first. Raises CacheUnavailable."""
        query = f"@scope:{{{self._scope}}}=>[KNN {count} @vector $like AS far]"
        command = (
            "FT.SEARCH", self._where.name(self.dimensions), query, "PARAMS", 2, "like", self._bytes(vector),
            "SORTBY", "far", "RETURN", 1, "far", "LIMIT", 0, count, "DIALECT", 2,
        )  # fmt: skip
        _, *found = self._use(lambda client: client.execute_command(*command))
        keys = [int(key.rpartition(b":")[2]) for key in found[::2]]
        # Scored again with what lies here: the server's distances are of another precision.
        return sorted(
            ((float(self._vectors[id] @ vector), id) for id in keys if id in self._vectors), reverse=True
        )

    def _use(self, question: Callable[[Any], T]) -> T:
        """What the server says, once it has all that it should have."""
        for last in (False, True):
            made = self._where.prepare(self.dimensions)
            if made != self._in:
                ids = list(self._vectors)
                for start in range(0, len(ids), AT_ONCE):
                    some = ids[start : start + AT_ONCE]
                    self._where.ask(lambda client, some=some: self._put(client, some))  # type: ignore[misc]
                self._in = made
            try:
                return self._where.ask(question)
            except _Absent:
                if last:
                    raise
                self._where.forget(self.dimensions)
        raise AssertionError("one of the two returns or raises")

    def _put(self, client: Any, ids: list[int]) -> None:
        pipe = client.pipeline(transaction=False)
        for id in ids:
            said = {"scope": str(self._scope), "vector": self._bytes(self._vectors[id])}
            pipe.hset(self._key(id), mapping=said)
        pipe.execute()

    def _key(self, id: int) -> str:
        return f"{self._where.name(self.dimensions)}:{id}"

    def _bytes(self, vector: Any) -> bytes:
        return self._numpy.asarray(vector, "<f4").tobytes()  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._vectors)
