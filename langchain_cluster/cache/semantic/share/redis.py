"""Sharing through a plain Redis or Valkey: a stream for each embedder, whose length is bounded.

The stream is its own snapshot: who comes later reads it from the beginning. When all is cleared it is
cut to that one record, whose place is also written down, for those who were away for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Self

from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.clients import Clients
from langchain_cluster.errors import CacheUnavailable, ConfigError
from langchain_cluster.sharing.bounds import is_namespace, some_seconds

ENTRIES = 50_000
_FIELD = b"r"
_RESTART = """
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('SET', KEYS[2], redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2]))
"""


class RedisJournals:
    """What semantic caches share through one Redis: a server, one that sentinels know, or a cluster.

    Args:
        clients: makes connections; `from_url` is the usual way.
        namespace: caches with another one hear nothing of these.
        max_records: that the server keeps of one embedder, about, >= 1; the oldest go first.

    Raises:
        ConfigError: one of them cannot be meant.
    """

    def __init__(
        self, clients: Clients, *, namespace: str = "langchain-cluster", max_records: int = ENTRIES
    ) -> None:
        if not is_namespace(namespace):
            raise ConfigError(
                f"{namespace!r} is not a name (a text without braces)", key="RedisJournals.namespace"
            )
        if type(max_records) is not int or max_records < 1:
            raise ConfigError(f"{max_records!r} is not an integer >= 1", key="RedisJournals.max_records")
        self.clients, self.namespace, self.max_records = clients, namespace, max_records

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: str = "langchain-cluster",
        max_records: int = ENTRIES,
        username_env: str | None = None,
        password_env: str | None = None,
        timeout: float = 1.0,
    ) -> Self:
        """Those at an address. Nothing connects yet.

        Args:
            url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`.
            username_env, password_env: names of environment variables; they win over the url's own.
            timeout: seconds to connect, and to wait for a reply, > 0. No call waits for either.

        Raises:
            ConfigError: the url is none, a variable is not set, or another value cannot be meant.
            ImportError: redis-py is not installed; it says how to.
        """
        timeout = some_seconds(timeout, "RedisJournals.timeout")
        address = RedisAddress.parse(url).signed_in(username_env, password_env)
        clients = Clients(address, connect_timeout=timeout, timeout=timeout)
        return cls(clients, namespace=namespace, max_records=max_records)

    def open(self, fingerprint: str) -> RedisJournal:
        """The journal of one embedder. Nothing connects yet."""
        of = sha256(fingerprint.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = f"lc:semantic:{{{self.namespace}:{of}}}"  # braces: one slot, where slots are
        return RedisJournal(self.clients, name, self.max_records)

    def __repr__(self) -> str:
        return f"RedisJournals({self.clients.address}, namespace={self.namespace!r})"


class RedisJournal:
    """A `Journal` in a stream.

    Args:
        clients: makes connections. name: of its keys. most: records, about.
    """

    def __init__(self, clients: Clients, name: str, most: int) -> None:
        self._clients, self._most = clients, most
        self._stream = name.encode("utf-8", "surrogatepass")
        self._restarted = self._stream + b":cleared"

    def append(self, records: Sequence[bytes]) -> None:
        """Add them at the end; the oldest may go."""
        pipe = self._client().pipeline(transaction=False)
        for record in records:
            pipe.xadd(self._stream, {_FIELD: record}, maxlen=self._most, approximate=True)
        self._told(pipe.execute)

    def read(self, after: str, count: int) -> list[tuple[str, bytes]]:
        """(place, record) of at most `count` behind a place, the oldest first."""
        client = self._client()
        found = self._told(lambda: client.xread({self._stream: after or "0-0"}, count=count))
        rows = found[0][1] if found else []
        return [(place.decode(), fields.get(_FIELD, b"")) for place, fields in rows]

    def restart(self, record: bytes) -> None:
        """Let all go, and begin with this one."""
        client = self._client()
        self._told(lambda: client.eval(_RESTART, 2, self._stream, self._restarted, _FIELD, record))

    def resume(self, after: str) -> tuple[str, bool, int]:
        """Where to go on, whether it was restarted since, and how much is to come."""
        pipe = self._client().pipeline(transaction=False)
        pipe.xrevrange(self._stream, count=1)
        pipe.get(self._restarted)
        pipe.xlen(self._stream)
        last, restarted, length = self._told(pipe.execute)
        newest = last[0][0].decode() if last else ""
        if _order(newest) < _order(after):  # another server, or an empty one: its places are not ours
            return "", False, int(length)
        return after, bool(after) and _order(_word(restarted)) > _order(after), int(length)

    def close(self) -> None:
        """Close the connections; whoever asks again opens new ones."""
        self._clients.close()

    def _client(self) -> Any:
        return self._told(self._clients.blocking)

    def _told(self, ask: Any) -> Any:
        try:
            return ask()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            hidden = self._clients.address.hidden(reason)
            raise CacheUnavailable(str(self._clients.address), hidden) from None


def _word(given: Any) -> str:
    return given.decode("ascii", "replace") if isinstance(given, bytes) else ""


def _order(place: str) -> tuple[int, int]:
    """Places of a stream in their order: milliseconds, and a number within them."""
    first, _, second = place.partition("-")
    try:
        return int(first), int(second or 0)
    except ValueError:
        return 0, 0
