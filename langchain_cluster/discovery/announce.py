"""Keep an endpoint announced for as long as it serves: register, heartbeats, deregister, whatever happens.

A registry that is away is no reason to stop serving: what fails is tried again at the next heartbeat.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import Any, Protocol

from langchain_cluster.errors import ClusterError, ConfigError
from langchain_cluster.model.endpoint import Endpoint, Load

PART = 3.0  # heartbeats in the time to live: two may be lost


class TimedRegistrar(Protocol):
    """A registrar that forgets who is silent for `ttl` seconds."""

    ttl: Any

    def register(self, endpoint: Endpoint) -> None: ...
    def deregister(self, id: str) -> None: ...
    def heartbeat(self, id: str, load: Load | None = None) -> None: ...


@contextmanager
def announced(
    registrar: TimedRegistrar,
    endpoint: Endpoint,
    *,
    load: Callable[[], Load | None] | None = None,
    signals: bool = False,
    failed: Callable[[Exception], object] = lambda error: None,
) -> Iterator[None]:
    """Within the block, `endpoint` is registered and sends heartbeats; then it is deregistered.

    load: asked before each heartbeat, on a thread of its own.
    signals: SIGTERM and SIGINT deregister too, before the handler that was there before is called.
    failed: told of what the registry raises; the next heartbeat tries again.

    Raises:
        ConfigError: `endpoint` cannot be registered, or `signals` on another thread than the main one.
    """
    if signals and current_thread() is not main_thread():
        raise ConfigError("signals can be handled from the main thread only", key="announced.signals")
    heart = _Heart(registrar, endpoint, load, failed)
    heart.begin()
    restore = _on_signals(heart.end) if signals else lambda: None
    try:
        yield
    finally:
        restore()
        heart.end()


class _Heart:
    """The heartbeats of one endpoint."""

    def __init__(
        self,
        registrar: TimedRegistrar,
        endpoint: Endpoint,
        load: Callable[[], Load | None] | None,
        failed: Callable[[Exception], object],
    ) -> None:
        self._registrar, self._endpoint, self._load, self._failed = registrar, endpoint, load, failed
        self._registered = False
        self._stop = Event()
        self._thread = Thread(target=self._beat, name="langchain-cluster-announce", daemon=True)

    def begin(self) -> None:
        """Register, and go on by itself."""
        try:
            self._once()
        except ConfigError:
            raise  # it will never do
        except Exception as error:
            self._failed(error)
        self._thread.start()

    def _once(self) -> None:
        if not self._registered:
            self._registrar.register(self._endpoint)
            self._registered = True
        self._registrar.heartbeat(self._endpoint.id, None if self._load is None else self._load())

    def _beat(self) -> None:
        while not self._stop.wait(self._registrar.ttl / PART):
            try:
                self._once()
            except Exception as error:
                self._failed(error)

    def end(self) -> None:
        """Deregister, once."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(self._registrar.ttl)  # or a heartbeat under way would register it again
        try:
            self._registrar.deregister(self._endpoint.id)
        except (ClusterError, OSError) as error:
            self._failed(error)  # its time to live ends it


def _on_signals(do: Callable[[], None]) -> Callable[[], None]:
    """Call `do` on SIGTERM and SIGINT, then what was called before; answers how to undo that."""
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        do()
        chained = before[number]
        if callable(chained):
            chained(number, frame)
        elif chained == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.getsignal(number)
        signal.signal(number, handle)

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is handle:
                signal.signal(number, handler)

    return restore
