"""redis-py's clients for an address: one for all threads, and one for each event loop.

A connection of asyncio belongs to the loop it was made on, so each loop has a client of its own. Nothing
connects before it is used, and after `close` whoever asks again gets new ones.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.held_up import patient
from langchain_cluster.extras import need

_FOR = "RedisCache"


class Clients:
    """Makes clients, keeps them, and closes them.

    Args:
        address: where.
        connect_timeout, timeout: seconds to connect, and to wait for a reply.
    """

    def __init__(self, address: RedisAddress, *, connect_timeout: float, timeout: float) -> None:
        need("redis", extra="redis", for_=_FOR)
        self.address, self.connect_timeout, self.timeout = address, connect_timeout, timeout
        self._lock = Lock()
        self._blocking: Any = None
        self._process = os.getpid()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def blocking(self) -> Any:
        """The client of all threads. A cluster is looked at when this makes it: raises as it does."""
        client = self._blocking
        if client is not None and self._process == os.getpid():
            return client
        with self._lock:
            if self._blocking is None or self._process != os.getpid():  # a fork must not share sockets
                self._process = os.getpid()
                self._blocking = self.make()
            return self._blocking

    def kept(self) -> Any:
        """The client of all threads if there is one yet, else None."""
        return self._blocking

    def kept_here(self) -> Any:
        """The client of the running event loop if there is one yet, else None."""
        return self._by_loop.get(asyncio.get_running_loop())

    def awaited(self) -> Any:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            with self._lock:
                # A client holds on to its loop: those whose loop has ended are let go here.
                for other in [other for other in self._by_loop if other.is_closed()]:
                    del self._by_loop[other]
                client = self._by_loop[loop] = self.make(awaited=True)
        return client

    def make(self, *, awaited: bool = False) -> Any:
        """A new client, for whoever wants one to itself and closes it."""
        client = self._made(awaited=awaited)
        return _patient(client) if awaited else client

    def _made(self, *, awaited: bool) -> Any:
        address, kind = self.address, "redis.asyncio" if awaited else "redis"
        redis = need(kind, extra="redis", for_=_FOR)
        options = self._options(need(f"{kind}.retry", extra="redis", for_=_FOR).Retry)
        if address.kind == "cluster":
            node = need(f"{kind}.cluster", extra="redis", for_=_FOR).ClusterNode
            nodes = [node(host, port) for host, port in address.hosts]
            if awaited:
                # A slot that moved is found where it is said to be. By default every fifth one closes the
                # connections on which other tasks wait.
                options["reinitialize_steps"] = 0
            # Slots that nobody serves are misses; the other slots' entries are there.
            return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
        if address.kind == "sentinel":
            # The same for the sentinels, but for who we are. With retries of their own one that is away would
            # cost seconds.
            asked = {name: value for name, value in options.items() if name not in ("username", "password")}
            sentinel = need(f"{kind}.sentinel", extra="redis", for_=_FOR).Sentinel(
                address.hosts, sentinel_kwargs=asked, **options
            )
            return sentinel.master_for(address.service, db=address.db)
        if address.socket is not None:
            return redis.Redis(unix_socket_path=address.socket, db=address.db, **options)
        host, port = address.hosts[0]
        return redis.Redis(host=host, port=port, db=address.db, **options)

    def at(self, host: str, port: int) -> Any:
        """A new blocking client of one node of a cluster."""
        redis = need("redis", extra="redis", for_=_FOR)
        return redis.Redis(
            host=host, port=port, **self._options(need("redis.retry", extra="redis", for_=_FOR).Retry)
        )

    def _options(self, retry: Callable[..., Any]) -> dict[str, Any]:
        backoff = need("redis.backoff", extra="redis", for_=_FOR)
        errors = need("redis.exceptions", extra="redis", for_=_FOR)
        address = self.address
        found = {
            "username": address.username,
            "password": address.password,
            "socket_connect_timeout": self.connect_timeout,
            "socket_timeout": self.timeout,
            # Once more, at once, on another connection: this one was idle, and its server was started anew.
            # Not after a timeout, which has cost enough.
            "retry": retry(backoff.NoBackoff(), 1, supported_errors=(errors.ConnectionError,)),
            "protocol": 2,  # needs no handshake, and every server speaks it
        }
        return found | address.tls_options()

    def close(self) -> None:
        """Close all connections; those of a loop that runs are closed there, as soon as it can."""
        with self._lock:
            client, self._blocking = self._blocking, None
            by_loop, self._by_loop = list(self._by_loop.items()), WeakKeyDictionary()
        if client is not None and self._process == os.getpid():
            disconnect(client)
        for loop, other in by_loop:
            if loop.is_running():
                loop.call_soon_threadsafe(_close_soon, other)

    async def aclose(self) -> None:
        """Close this loop's connections and all others that can be closed from here."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await adisconnect(client)
        self.close()


def _patient(client: Any) -> Any:
    """A client of asyncio that takes no server for away because its loop was busy."""
    if hasattr(client, "connection_pool"):
        makes = [client.connection_pool]
    else:  # a cluster: the nodes it begins with, and those it finds are made with what is kept here
        client.connection_kwargs["connection_class"] = patient(client.connection_kwargs["connection_class"])
        makes = list(client.nodes_manager.startup_nodes.values())
    for one in makes:
        one.connection_class = patient(one.connection_class)
    return client


_closing: set[asyncio.Task[None]] = set()  # a task nobody holds may be gone before it has run


def _close_soon(client: Any) -> None:
    task = asyncio.get_running_loop().create_task(adisconnect(client))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def disconnect(client: Any) -> None:
    """Close a blocking client, whatever state it is in."""
    try:
        client.close()
        sentinel = _sentinel_of(client)
        if sentinel is not None:
            client.connection_pool.disconnect()
            for one in sentinel.sentinels:
                one.close()
    except Exception:
        pass  # it is being thrown away


async def adisconnect(client: Any) -> None:
    """The asyncio twin of `disconnect`."""
    try:
        await client.aclose()
        sentinel = _sentinel_of(client)
        if sentinel is not None:
            await client.connection_pool.disconnect()
            for one in sentinel.sentinels:
                await one.aclose()
    except Exception:
        pass  # it is being thrown away


def _sentinel_of(client: Any) -> Any:
    return getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
