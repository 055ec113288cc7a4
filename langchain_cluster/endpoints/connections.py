"""HTTP connections to one discovered endpoint: never to a link-local or metadata address, and closed when
nobody uses them any more.

A name that may be called can be made to resolve to 169.254.169.254 (DNS rebinding). So where a connection
has led to is looked at before anything is sent over it. Redirects are not followed, and the proxies of the
environment are not used: neither would be seen here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from threading import Lock
from typing import Any

import httpcore
import httpx

from langchain_cluster.model.address import host_problem

_MOST, _KEPT = 1000, 100  # connections at once, and of those that idle; as the SDKs have it


class Connections:
    """The HTTP clients of one model.

    Attributes:
        client, async_client: to be given to an SDK.
    """

    def __init__(self) -> None:
        self._blocking, self._awaited = _Transport(), _AsyncTransport()
        self.client = httpx.Client(transport=self._blocking, trust_env=False, timeout=None)
        self.async_client = httpx.AsyncClient(transport=self._awaited, trust_env=False, timeout=None)

    def retire(self) -> None:
        """Close what idles now, and the rest when what is under way on it has ended."""
        self._blocking.retire()
        self._awaited.retire()

    def rest(self) -> None:
        """Close what idles."""
        self._blocking.rest()
        self._awaited.rest()


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    # Reading the certificates takes longer than everything else that a model is made of.
    return ssl.create_default_context()


def _check(stream: Any) -> str | None:
    """Why nothing may be sent to where `stream` leads."""
    peer = stream.get_extra_info("server_addr")
    return host_problem(str(peer[0])) if peer else None


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        stream = super().connect_tcp(*args, **kwargs)
        problem = _check(stream)
        if problem is not None:
            stream.close()
            raise httpcore.ConnectError(problem)
        return stream


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(*args, **kwargs)
        problem = _check(stream)
        if problem is not None:
            await stream.aclose()
            raise httpcore.ConnectError(problem)
        return stream

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Uses:
    """Counts what is under way, so that the last to leave closes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way = 0
        self._retired = False

    def enter(self) -> None:
        with self._lock:
            self._under_way += 1

    def leave(self) -> bool:
        """Whether to close now."""
        with self._lock:
            self._under_way -= 1
            return self._retired and not self._under_way

    def retire(self) -> None:
        with self._lock:
            self._retired = True

    def none(self) -> bool:
        with self._lock:
            return not self._under_way


class _Transport(httpx.HTTPTransport):
    def __init__(self) -> None:
        super().__init__(verify=_trust())
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trust(),
            max_connections=_MOST,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=5.0,
            network_backend=_Backend(),
        )
        self._uses = _Uses()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._uses.enter()
        try:
            response = super().handle_request(request)
        except BaseException:
            self._left()
            raise
        response.stream = _Watched(response.stream, self._left)  # type: ignore[arg-type]
        return response

    def retire(self) -> None:
        self._uses.retire()
        self.rest()

    def rest(self) -> None:
        if self._uses.none():
            self._pool.close()

    def _left(self) -> None:
        if self._uses.leave():
            self._pool.close()


class _Watched(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, left: Callable[[], None]) -> None:
        self._stream, self._left = stream, left

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        left, self._left = self._left, _nothing
        try:
            self._stream.close()
        finally:
            left()


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self) -> None:
        super().__init__(verify=_trust())
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust(),
            max_connections=_MOST,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=5.0,
            network_backend=_AsyncBackend(),
        )
        self._uses = _Uses()
        self._loops: set[asyncio.AbstractEventLoop] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        self._loops = {loop, *(other for other in self._loops if not other.is_closed())}
        self._uses.enter()
        try:
            response = await super().handle_async_request(request)
        except BaseException:
            await self._aleft()
            raise
        response.stream = _AsyncWatched(response.stream, self._aleft)  # type: ignore[arg-type]
        return response

    def retire(self) -> None:
        self._uses.retire()
        self.rest()

    def rest(self) -> None:
        if self._uses.none():
            for loop in self._loops:
                # Connections are closed where they were opened. A loop that has ended has none any more.
                if loop.is_running():
                    asyncio.run_coroutine_threadsafe(self._pool.aclose(), loop)

    async def _aleft(self) -> None:
        if self._uses.leave():
            await self._pool.aclose()


class _AsyncWatched(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, left: Callable[[], Any]) -> None:
        self._stream, self._left = stream, left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        left, self._left = self._left, _anothing
        try:
            await self._stream.aclose()
        finally:
            await left()


def _nothing() -> None:
    """It was told already."""


async def _anothing() -> None:
    """It was told already."""
