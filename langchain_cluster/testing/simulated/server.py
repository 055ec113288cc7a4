"""A model server for tests, benchmarks and demos: real sockets, any number of endpoints, live faults.

    with SimulatedServer() as server:
        model = ChatOpenAI(base_url=server.openai_url("gpu-1"), model="m", api_key="-")
        server.fail(faults.Status(503), endpoint="gpu-1")

It lives in a daemon thread with an event loop of its own, so sync and async tests use it alike, and
a test that blocks its loop does not block the server.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Self, TypedDict, Unpack

from langchain_cluster.testing.simulated.connection import Site
from langchain_cluster.testing.simulated.faults import Fault
from langchain_cluster.testing.simulated.latency import Latency
from langchain_cluster.testing.simulated.log import Log, Seen
from langchain_cluster.testing.simulated.reply import Reply
from langchain_cluster.testing.simulated.rules import On, Rules

__all__ = ["SimulatedServer"]


class _Changes(TypedDict, total=False):
    reply: Reply | None
    latency: Latency
    first_token: Latency
    between_tokens: Latency
    tokens: int | None
    models: tuple[str, ...]
    dimensions: int


class SimulatedServer:
    """Serves OpenAI and Anthropic; an endpoint is whatever name stands before /v1.

    host: the address it listens at. port: 0 takes a free one, which is kept when the server is stopped
    and started again. name: of the endpoint without a prefix. seed: of latencies and probabilities.
    record_secrets: keep API keys in the log instead of "***". keep: entries of the log.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "default",
        seed: int = 0,
        record_secrets: bool = False,
        keep: int = 100_000,
    ) -> None:
        rng = Random(seed)
        self._host, self._port = host, port
        self._log = Log(keep=keep, record_secrets=record_secrets)
        self._rules = Rules(rng)
        self._site = Site(name=name, log=self._log, rules=self._rules, rng=rng)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_stop: asyncio.Event | None = None

    # -- lifecycle ---------------------------------------------------------

    def start(self) -> Self:
        """Does nothing when it is running.

        Raises: OSError when the port is taken.
        """
        if self._thread is not None:
            return self
        listener = socket.create_server((self._host, self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, ready)),
            name=f"simulated-server-{self._port}",
            daemon=True,
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Close every connection and the port; does nothing when it is stopped.

        The log stays, and so do faults and behaviours.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loop is not None
        assert self._asked_to_stop is not None
        self._loop.call_soon_threadsafe(self._asked_to_stop.set)
        thread.join()
        self._loop = self._asked_to_stop = None

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._site.stopping = False
        self._loop = asyncio.get_running_loop()
        self._asked_to_stop = asyncio.Event()
        server = await self._loop.create_server(self._site.connection, sock=listener)
        ready.set()
        await self._asked_to_stop.wait()
        server.close()
        await self._site.close()
        await server.wait_closed()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- addresses ---------------------------------------------------------

    @property
    def port(self) -> int:
        """0 until the first start."""
        return self._port

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def openai_url(self, endpoint: str | None = None) -> str:
        return f"{self.anthropic_url(endpoint)}/v1"

    def anthropic_url(self, endpoint: str | None = None) -> str:
        return self.url if endpoint is None else f"{self.url}/{endpoint}"

    def health_url(self, endpoint: str | None = None) -> str:
        return f"{self.anthropic_url(endpoint)}/health"

    # -- behaviour ---------------------------------------------------------

    def behave(self, endpoint: str | None = None, **changes: Unpack[_Changes]) -> None:
        """Change what is named and keep the rest; see Behaviour for the meanings.

        Without an endpoint: the default of all that have no behaviour of their own.
        """
        table = self._site.behaviours
        table[endpoint] = replace(self._site.behaviour(endpoint), **changes)

    def fail(
        self,
        fault: Fault,
        endpoint: str | None = None,
        model: str | None = None,
        *,
        on: On = "calls",
        times: int | None = None,
        probability: float = 1.0,
        after: int = 0,
    ) -> None:
        """From now on, until healed.

        endpoint, model: None for every one. on: "calls" spares health checks and model lists, which
        "probes" and "everything" hit. times: strikes until it is used up; None for ever.
        probability: 0 to 1, per request. after: requests let through first.
        """
        self._rules.add(
            fault,
            endpoint=endpoint,
            model=model,
            on=on,
            times=times,
            probability=probability,
            after=after,
        )

    def heal(self, endpoint: str | None = None, model: str | None = None) -> None:
        """Drop the faults made for this endpoint, this model, or all; what hangs keeps hanging."""
        self._rules.drop(endpoint=endpoint, model=model)

    # -- what it saw -------------------------------------------------------

    @property
    def log(self) -> list[Seen]:
        """Every request in order of arrival, probes included."""
        return self._log.entries()

    def seen(self, endpoint: str | None = None, *, model: str | None = None) -> list[Seen]:
        """The calls, without probes (health checks and model lists)."""
        return [
            entry
            for entry in self._log.entries()
            if not entry.probe
            and (endpoint is None or entry.endpoint == endpoint)
            and (model is None or entry.model == model)
        ]

    def probes(self, endpoint: str | None = None) -> list[Seen]:
        """The health checks and model lists."""
        return [
            entry
            for entry in self._log.entries()
            if entry.probe and (endpoint is None or entry.endpoint == endpoint)
        ]

    def count(self, endpoint: str | None = None) -> int:
        """Calls since the log was cleared, without probes."""
        return self._log.count(endpoint)

    def in_flight(self, endpoint: str | None = None) -> int:
        return self._log.in_flight(endpoint)

    def peak_in_flight(self, endpoint: str) -> int:
        """The most calls at one time since the log was cleared."""
        return self._log.peak_in_flight(endpoint)

    def clear_log(self) -> None:
        self._log.clear()

    @property
    def connections(self) -> int:
        """Open sockets, idle ones included."""
        return len(self._site.connections)

    def wait_until(self, condition: Callable[[], bool], *, within: float = 2.0) -> bool:
        """Block until the condition holds; within: seconds. Returns whether it did.

        For what reaches the server a moment later than the client believes, such as a closed socket.
        """
        end = time.monotonic() + within
        while not (held := condition()) and time.monotonic() < end:
            time.sleep(0.001)
        return held

    def __repr__(self) -> str:
        if self._thread is None:
            return f"<SimulatedServer stopped, {self.count()} calls seen>"
        return (
            f"<SimulatedServer {self.url}, {len(self._rules)} faults, {self.connections} connections, "
            f"{self.in_flight()} of {self.count()} calls in flight>"
        )
