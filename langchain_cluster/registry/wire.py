"""Speak HTTP with a registry, blocking or awaited, and stop at once when told to.

What is said is decided elsewhere, in generators that yield `Ask`, `Listen` and `Pause` and get an
`Answer`: one implementation for both colours. A long poll keeps a thread inside `recv` for half a
minute, and closing a client does not wake it; shutting its socket down does. So the sockets are kept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, TypeVar

import httpx

from langchain_cluster.errors import ConfigError, DiscoveryError

T = TypeVar("T")

CONNECT = 2.0  # seconds: a registry is near, and a thread that connects cannot be woken
MOST = 64 * 1024 * 1024  # bytes of an answer that are read
NETWORK = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; `timeout`: seconds of silence until it has failed. Raises OSError or httpx.HTTPError."""

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # a token is in there
    content: bytes | None = field(default=None, repr=False)
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class Listen:
    """A request whose answer never ends: read lines until `enough(line)`, or for `seconds`.

    Answers what was read. The first line must come within the request's own timeout.
    """

    ask: Ask
    enough: Callable[[bytes], bool]
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Let `seconds` pass."""

    seconds: float


Steps = Generator[Ask | Listen | Pause, Any, T]


class Wire:
    """Performs steps.

    Args:
        name: of the source, for errors.
        ca: file with the certificates to trust; the usual ones if None.
        cert, key: files of the certificate to show and its key.
        verify: whether the registry's certificate is checked.

    Raises:
        ConfigError: a file that cannot be read.
    """

    def __init__(
        self,
        name: str,
        *,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        verify: bool = True,
    ) -> None:
        self._name = name
        self._tls = (ca, cert, key, verify)
        self._trust: ssl.SSLContext | None = None
        if ca or cert:
            self._trusted()  # a file that is not there is told now
        self._lock = Lock()
        self._closed = Event()  # of everything that is under way; the next begins with a new one
        self._sockets: set[socket.socket] = set()
        self._tasks: set[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = set()

    # -- blocking -----------------------------------------------------------------------------------

    def run(self, steps: Steps[T]) -> T:
        """Perform `steps` on this thread. Raises what they raise; DiscoveryError when `close` was called."""
        closed = self._closed
        used: set[socket.socket] = set()
        try:
            with (
                httpx.Client(verify=self._trusted(), trust_env=False) as client,
                closing(steps),
            ):
                answer: Any = None
                error: Exception | None = None
                while True:
                    step = steps.send(answer) if error is None else steps.throw(error)
                    answer = error = None
                    try:
                        if isinstance(step, Pause):
                            closed.wait(step.seconds)
                        else:
                            answer = self._perform(client, step, closed, used)
                    except NETWORK as failure:
                        error = failure
                    if closed.is_set():
                        raise self._gone()
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            with self._lock:
                self._sockets -= used

    def _perform(
        self, client: httpx.Client, step: Ask | Listen, closed: Event, used: set[socket.socket]
    ) -> Answer:
        def trace(event: str, info: Mapping[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                connected = info["return_value"].get_extra_info("socket")
                with self._lock:
                    used.add(connected)
                    self._sockets.add(connected)
                    if closed.is_set():
                        _wake(connected)

        ask = step.ask if isinstance(step, Listen) else step
        with client.stream(**_request(ask), extensions={**_limits(ask), "trace": trace}) as response:
            body = bytearray()
            if not isinstance(step, Listen) or response.status_code != 200:
                for piece in response.iter_bytes():
                    _add(body, piece)
                return Answer(response.status_code, response.headers, bytes(body))
            until = time.monotonic() + step.seconds
            _take_time(response, step.seconds)  # it has begun to answer
            try:
                for piece in response.iter_bytes():
                    _add(body, piece)
                    if _heard(body, step) or time.monotonic() >= until:
                        break
            except httpx.ReadTimeout:
                if not body:
                    raise  # it did not even say that it listens
            return Answer(200, response.headers, bytes(body))

    # -- awaited ------------------------------------------------------------------------------------

    async def arun(self, steps: Steps[T]) -> T:
        """The asyncio twin of `run`."""
        closed, loop = self._closed, asyncio.get_running_loop()
        task = loop.create_task(self._arun(steps))
        under_way = (loop, task)
        with self._lock:
            self._tasks.add(under_way)
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if closed.is_set() and not (this is not None and this.cancelling()):
                raise self._gone() from None
            raise
        finally:
            with self._lock:
                self._tasks.discard(under_way)

    async def _arun(self, steps: Steps[T]) -> T:
        try:
            async with httpx.AsyncClient(verify=self._trusted(), trust_env=False) as client:
                with closing(steps):
                    answer: Any = None
                    error: Exception | None = None
                    while True:
                        step = steps.send(answer) if error is None else steps.throw(error)
                        answer = error = None
                        try:
                            if isinstance(step, Pause):
                                await asyncio.sleep(step.seconds)
                            else:
                                answer = await self._aperform(client, step)
                        except NETWORK as failure:
                            error = failure
        except StopIteration as end:
            value: T = end.value
        return value

    async def _aperform(self, client: httpx.AsyncClient, step: Ask | Listen) -> Answer:
        ask = step.ask if isinstance(step, Listen) else step
        async with client.stream(**_request(ask), extensions=_limits(ask)) as response:
            body = bytearray()
            if not isinstance(step, Listen) or response.status_code != 200:
                async for piece in response.aiter_bytes():
                    _add(body, piece)
                return Answer(response.status_code, response.headers, bytes(body))
            until = time.monotonic() + step.seconds
            _take_time(response, step.seconds)
            try:
                async for piece in response.aiter_bytes():
                    _add(body, piece)
                    if _heard(body, step) or time.monotonic() >= until:
                        break
            except httpx.ReadTimeout:
                if not body:
                    raise
            return Answer(200, response.headers, bytes(body))

    # -- its end ------------------------------------------------------------------------------------

    def close(self) -> None:
        """End whatever is under way, at once, with a `DiscoveryError`. What begins later is not touched."""
        with self._lock:
            self._closed.set()
            self._closed = Event()
            for connected in self._sockets:
                _wake(connected)
            tasks = list(self._tasks)
        for loop, task in tasks:
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    def _gone(self) -> DiscoveryError:
        return DiscoveryError(self._name, "it was closed")

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            ca, cert, key, verify = self._tls
            try:
                trust = ssl.create_default_context(cafile=ca)
                if cert:
                    trust.load_cert_chain(cert, key)
            except (OSError, ssl.SSLError) as error:
                files = ", ".join(file for file in (ca, cert, key) if file)
                raise ConfigError(
                    f"a certificate or key cannot be read ({type(error).__name__}): {files}",
                    key=f"{self._name}.tls",
                ) from error
            if not verify:
                trust.check_hostname = False
                trust.verify_mode = ssl.CERT_NONE
            self._trust = trust
        return self._trust


def _request(ask: Ask) -> dict[str, Any]:
    return {
        "method": ask.method,
        "url": ask.url,
        "params": ask.params or None,
        "headers": ask.headers,
        "content": ask.content,
    }


def _limits(ask: Ask) -> dict[str, Any]:
    near = min(CONNECT, ask.timeout)
    return {"timeout": {"connect": near, "read": ask.timeout, "write": near, "pool": near}}


def _add(body: bytearray, piece: bytes) -> None:
    body += piece
    if len(body) > MOST:
        raise OSError(f"the answer is larger than {MOST // 1024 // 1024} MiB")


def _heard(body: bytearray, step: Listen) -> bool:
    return any(step.enough(line) for line in bytes(body).split(b"\n") if line.strip())


def _take_time(response: httpx.Response, seconds: float) -> None:
    """Wait for each piece of this answer for `seconds`: httpcore reads the limit when the body is begun."""
    response.request.extensions["timeout"]["read"] = max(0.01, seconds)


def _wake(connected: socket.socket) -> None:
    """End every read of it, on whatever thread. Not an SSLSocket's own shutdown: that one races with them."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        pass  # it has been closed
