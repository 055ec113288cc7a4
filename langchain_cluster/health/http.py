"""Is the server well, by its own account? A request to its health page."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from threading import Lock
from typing import Any

import httpx

from langchain_cluster.errors import ConfigError
from langchain_cluster.health.address import base_of
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.health import Health

MOST = 4 * 1024 * 1024  # bytes of a page that are read
IDLE = 60.0  # seconds after which the client of an endpoint that is not asked any more is closed
NETWORK = (httpx.HTTPError, httpx.InvalidURL, OSError)  # what a check that fails may raise
NO_ADDRESS = "not checked: it has no url, and its model tells none"


@dataclass(frozen=True, slots=True)
class Page:
    """What came back: a status and the text, as far as it was read."""

    status: int
    text: str


class Pages:
    """Fetches pages: blocking by a client per server, which is kept; awaited by one that is not.

    An awaited client belongs to its event loop, and checks are made from whatever loop there is.
    """

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        if not _are_headers(headers):
            raise ConfigError("is no mapping of texts to texts (not shown)", key="HttpCheck.headers")
        self._headers = dict(headers or {})
        self._lock = Lock()
        self._clients: dict[str, tuple[httpx.Client, float]] = {}
        self._trust: SSLContext | None = None

    def get(self, method: str, base: str, path: str, timeout: float) -> Page:
        """Raises httpx.HTTPError, TimeoutError when the whole took longer than `timeout` seconds."""
        ends = time.monotonic() + timeout
        with self._client(base).stream(method, base + path, timeout=timeout) as response:
            read = bytearray()
            for piece in response.iter_bytes():
                read += piece
                if _enough(read, ends):
                    break
            return Page(response.status_code, read.decode("utf-8", "replace"))

    async def aget(self, method: str, base: str, path: str, timeout: float) -> Page:
        """The same, awaited."""
        ends = time.monotonic() + timeout
        async with (
            httpx.AsyncClient(headers=self._headers, verify=self._trusted()) as client,
            client.stream(method, base + path, timeout=timeout) as response,
        ):
            read = bytearray()
            async for piece in response.aiter_bytes():
                read += piece
                if _enough(read, ends):
                    break
            return Page(response.status_code, read.decode("utf-8", "replace"))

    def _trusted(self) -> SSLContext:
        if self._trust is None:  # twice by two threads does no harm
            self._trust = httpx.create_ssl_context()  # 20 ms: not once per endpoint
        return self._trust

    def _client(self, base: str) -> httpx.Client:
        now = time.monotonic()
        trusted = self._trusted()
        with self._lock:
            known = self._clients.get(base)
            client = httpx.Client(headers=self._headers, verify=trusted) if known is None else known[0]
            self._clients[base] = (client, now)
            idle = [other for other, (_, used) in self._clients.items() if now - used > IDLE]
            left = [self._clients.pop(other)[0] for other in idle]
        for gone in left:
            gone.close()
        return client

    def close(self) -> None:
        """Close the connections; whoever asks again opens new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client, _ in clients.values():
            client.close()


def _are_headers(given: Any) -> bool:
    if not isinstance(given, Mapping):
        return given is None
    return all(isinstance(name, str) and isinstance(value, str) for name, value in given.items())


def _enough(read: bytearray, ends: float) -> bool:
    if time.monotonic() > ends:  # httpx limits each read, and a server may trickle
        raise TimeoutError
    return len(read) >= MOST


class HttpCheck:
    """Healthy when a page of the endpoint's server answers with the right status, and body.

    The server is the endpoint's `url`, or else the `base_url` of its model without `/v1`. An endpoint
    that has neither cannot be checked and counts as healthy. Redirects are not followed.

    Args:
        path: of the page, with a `/` before it.
        status: the statuses that mean healthy: a number, or a container of them.
        body: a text the body contains, or a compiled pattern found in it; None takes any.
        timeout: seconds for the whole check.
        method, headers: of the request. Headers never show in a repr.

    Raises:
        ConfigError: one of them cannot be meant.
    """

    def __init__(
        self,
        path: str = "/health",
        *,
        status: int | Container[int] = range(200, 300),
        body: str | re.Pattern[str] | None = None,
        timeout: float = 1.0,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not str(path).startswith("/"):
            raise ConfigError(f"path {path!r} does not begin with '/'", key="HttpCheck.path")
        if not _is_status(status):
            raise ConfigError(f"{status!r} is neither a status, 100-599, nor several", key="HttpCheck.status")
        if not isinstance(body, str | re.Pattern | None):
            raise ConfigError(f"{body!r} is neither a text nor a pattern", key="HttpCheck.body")
        if not str(method).isalpha():
            raise ConfigError(f"{method!r} is no method such as 'GET'", key="HttpCheck.method")
        self.timeout = seconds(timeout, "HttpCheck.timeout")
        self.path, self.body, self.method = path, body, method
        self.status: Container[int] = (status,) if isinstance(status, int) else status
        self._pages = Pages(headers)

    def check(self, endpoint: Endpoint) -> Health:
        """Ask and look at the answer."""
        base, began = base_of(endpoint), time.monotonic()
        if base is None:
            return Health(True, NO_ADDRESS)
        try:
            page = self._pages.get(self.method, base, self.path, self.timeout)
        except NETWORK as error:
            return failed(error, began)
        return self._judge(page, began)

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        base, began = base_of(endpoint), time.monotonic()
        if base is None:
            return Health(True, NO_ADDRESS)
        try:
            page = await self._pages.aget(self.method, base, self.path, self.timeout)
        except NETWORK as error:
            return failed(error, began)
        return self._judge(page, began)

    def _judge(self, page: Page, began: float) -> Health:
        took = time.monotonic() - began
        if page.status not in self.status:
            return Health(False, f"{self.path} answered {page.status}", seconds=took)
        if not _matches(self.body, page.text):
            return Health(False, f"the body of {self.path} is not as expected", seconds=took)
        return Health(True, f"{self.path} answered {page.status}", seconds=took)

    def close(self) -> None:
        """Close the connections."""
        self._pages.close()

    def __repr__(self) -> str:
        return f"HttpCheck({self.path!r}, timeout={self.timeout:g})"


def _is_status(given: Any) -> bool:
    if isinstance(given, int):
        return not isinstance(given, bool) and 100 <= given <= 599
    if isinstance(given, list | tuple | set | frozenset):
        return bool(given) and all(isinstance(each, int) and _is_status(each) for each in given)
    return isinstance(given, Container) and not isinstance(given, str | bytes | Mapping)


def _matches(wanted: str | re.Pattern[str] | None, text: str) -> bool:
    if wanted is None:
        return True
    return wanted in text if isinstance(wanted, str) else wanted.search(text) is not None


def failed(error: Exception, began: float) -> Health:
    """What an exception of the network means."""
    late = isinstance(error, httpx.TimeoutException | TimeoutError)
    what = "no answer in time" if late else str(error) or type(error).__name__
    return Health(False, what[:200], seconds=time.monotonic() - began)


def seconds(given: Any, key: str) -> float:
    """A length of time. Raises ConfigError when it is none."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise ConfigError(f"{given!r} is not a number of seconds > 0", key=key)
    return float(given)
