"""Sharing through one Redis or Valkey: a channel for news, a hash for those who come later.

What is said is published, and written into a hash with the time it ends by the server's clock, in one
script, so that whoever starts learns by one look what holds. A line that says nothing for a while is
asked whether it is there; one that is lost is laid anew after a pause with full jitter, for as long as
it takes. Calls never wait for any of this.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need
from langchain_cluster.model.hearsay import Hearsay
from langchain_cluster.sharing.bounds import a_percentage, is_namespace, some_seconds
from langchain_cluster.sharing.line import Line


class RedisSharing:
    """A `Sharing` in one Redis (5.0 or later) or Valkey server. Nothing connects before a cluster starts.

    Args:
        url: `redis://`, `rediss://` or `unix://`, of one server.
        namespace: who uses another one hears nothing of these, and the other way round.
        max_percent: of a pool that may be out for hearsay at one time, 0-100; 0 to tell and not to listen.
        timeout: seconds to connect, and for each answer.

    Raises:
        ConfigError: one of them cannot be meant. ImportError: redis is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "langchain-cluster",
        max_percent: float = 50.0,
        timeout: float = 0.5,
    ) -> None:
        self.max_percent = a_percentage(max_percent, "RedisSharing.max_percent")
        self.timeout = some_seconds(timeout, "RedisSharing.timeout")
        if not is_namespace(namespace):
            raise ConfigError(
                f"{namespace!r} is not a name (a text without braces)", key="RedisSharing.namespace"
            )
        self.namespace = namespace
        self._url = url
        self._client()  # a wrong address is told now

    def join(
        self,
        hear: Callable[[Hearsay], None],
        *,
        lost: Callable[[str], None],
        restored: Callable[[], None],
    ) -> Line:
        """Take part, on a thread of its own: first what was said lately is heard, then what is said."""
        name = f"langchain-cluster:{{{self.namespace}}}"  # braces: one slot, where slots are
        return Line(
            self._client,
            f"{name}:hearsay",
            sender=secrets.token_hex(8),
            hear=hear,
            lost=lost,
            restored=restored,
        )

    def _client(self) -> Any:
        """A new client. Its connections are made when they are first used."""
        library = need("redis", extra="redis", for_="RedisSharing")
        retry = need("redis.retry", extra="redis", for_="RedisSharing")
        backoff = need("redis.backoff", extra="redis", for_="RedisSharing")
        try:
            return library.Redis.from_url(
                self._url,
                retry=retry.Retry(backoff.NoBackoff(), 0),  # a line that is lost is laid anew, by us
                socket_connect_timeout=self.timeout,
                socket_timeout=self.timeout,
                protocol=2,  # needs no handshake, and every server speaks it
            )
        except Exception:  # its text shows the address, and the password in it
            raise ConfigError(
                "is not an address such as 'redis://10.0.0.9:6379/0' (it is not shown, in case there is a "
                "password in it)",
                key="RedisSharing.url",
            ) from None

    def __repr__(self) -> str:
        return f"RedisSharing(namespace={self.namespace!r}, max_percent={self.max_percent:g})"
