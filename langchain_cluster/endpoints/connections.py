"""HTTP connections to one discovered endpoint: never to a link-local or metadata address, and closed when
nobody uses them any more.

A name that may be called can be made to resolve to 169.254.169.254 (DNS rebinding). So where a connection
has led to is looked at before anything is sent over it. Redirects are not followed, and the proxies of the
environment are not used: neither would be seen here.

SDKs bring their own copy of the HTTP library (httpx, or its successor httpx2), and take clients of no other:
so nothing here is derived from either, and which one it is is said by name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any, Self

from langchain_cluster.model.address import host_problem

_MOST, _KEPT = 1000, 100  # connections at once, and of those that idle; as the SDKs have it


class Connections:
    """The HTTP clients of one model.

    Args:
        library: whose clients they are: "httpx" or "httpx2".

    Attributes:
        client, async_client: to be given to an SDK.
        transport, async_transport: what they are made of, for an SDK that makes its own clients.
    """

    def __init__(self, library: str = "httpx") -> None:
        httpx, httpcore = import_module(library), import_module(library.replace("httpx", "httpcore"))
        self.transport, self.async_transport = _Transport(httpx, httpcore), _AsyncTransport(httpx, httpcore)
        self.client: Any = httpx.Client(transport=self.transport, trust_env=False, timeout=None)
        self.async_client: Any = httpx.AsyncClient(
            transport=self.async_transport, trust_env=False, timeout=None
        )

    def retire(self) -> None:
        """Close what idles now, and the rest when what is under way on it has ended."""
        self.transport.retire()
        self.async_transport.retire()

    def rest(self) -> None:
        """Close what idles."""
        self.transport.rest()
        self.async_transport.rest()


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    # Reading the certificates takes longer than everything else that a model is made of.
    return ssl.create_default_context()


def _pool(kind: Any, backend: Any) -> Any:
    return kind(
        ssl_context=_trust(),
        max_connections=_MOST,
        max_keepalive_connections=_KEPT,
        keepalive_expiry=5.0,
        network_backend=backend,
    )


def _check(stream: Any) -> str | None:
    """Why nothing may be sent to where `stream` leads."""
    peer = stream.get_extra_info("server_addr")
    return host_problem(str(peer[0])) if peer else None


class _Backend:
    """Opens TCP connections, and none but TCP ones."""

    def __init__(self, httpcore: Any) -> None:
        self._inner, self._refused = httpcore.SyncBackend(), httpcore.ConnectError

    def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        stream = self._inner.connect_tcp(*args, **kwargs)
        problem = _check(stream)
        if problem is not None:
            stream.close()
            raise self._refused(problem)
        return stream


class _AsyncBackend:
    def __init__(self, httpcore: Any) -> None:
        self._inner, self._refused = httpcore.AnyIOBackend(), httpcore.ConnectError

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> Any:
        stream = await self._inner.connect_tcp(*args, **kwargs)
        problem = _check(stream)
        if problem is not None:
            await stream.aclose()
            raise self._refused(problem)
        return stream


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


@lru_cache
def _stream_kind(own: type, base: type) -> Any:
    """`own` as the library's clients take it: they look whose it is."""
    return type(own.__name__, (own, base), {})


class _Transport:
    def __init__(self, httpx: Any, httpcore: Any) -> None:
        self._inner = httpx.HTTPTransport(verify=_trust())
        self._inner._pool = self._pool = _pool(httpcore.ConnectionPool, _Backend(httpcore))
        self._stream = _stream_kind(_Watched, httpx.SyncByteStream)
        self._uses = _Uses()

    def handle_request(self, request: Any) -> Any:
        self._uses.enter()
        try:
            response = self._inner.handle_request(request)
        except BaseException:
            self._left()
            raise
        response.stream = self._stream(response.stream, self._left)
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

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class _Watched:
    def __init__(self, stream: Any, left: Callable[[], None]) -> None:
        self._stream, self._left = stream, left

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        left, self._left = self._left, _nothing
        try:
            self._stream.close()
        finally:
            left()


class _AsyncTransport:
    def __init__(self, httpx: Any, httpcore: Any) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=_trust())
        self._inner._pool = self._pool = _pool(httpcore.AsyncConnectionPool, _AsyncBackend(httpcore))
        self._stream = _stream_kind(_AsyncWatched, httpx.AsyncByteStream)
        self._uses = _Uses()
        self._loops: set[asyncio.AbstractEventLoop] = set()

    async def handle_async_request(self, request: Any) -> Any:
        loop = asyncio.get_running_loop()
        self._loops = {loop, *(other for other in self._loops if not other.is_closed())}
        self._uses.enter()
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException:
            await self._aleft()
            raise
        response.stream = self._stream(response.stream, self._aleft)
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

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()


class _AsyncWatched:
    def __init__(self, stream: Any, left: Callable[[], Any]) -> None:
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
