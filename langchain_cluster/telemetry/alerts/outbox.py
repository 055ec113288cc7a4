"""Alerts on their way to sinks: a bounded queue and one thread, so that no call ever waits for a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from inspect import isawaitable
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread, current_thread
from typing import Any

from langchain_cluster.model.alert import Alert
from langchain_cluster.ports import AlertSink

ROOM = 1000  # alerts; whoever is so far behind has other problems than one alert more


class Outbox:
    """Hands alerts to every sink, one after the other. The thread begins with the first alert.

    Args:
        sinks: called with each alert; what one raises does not keep it from the others.
        failed: told of the sink's name and the kind of error.
        room: how many alerts may wait.
    """

    def __init__(
        self, sinks: Sequence[AlertSink], failed: Callable[[str, str], None], *, room: int = ROOM
    ) -> None:
        self._sinks, self._failed = tuple(sinks), failed
        self._queue: Queue[Alert | None] = Queue(room)
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stop = Event()
        self.sent = self.lost = 0  # alerts that reached a sink, and that did not

    def put(self, alert: Alert) -> None:
        """Leave an alert to be sent; never waits. One too many is lost, and told."""
        if not self._sinks:
            return
        with self._lock:
            if self._thread is None:
                self._stop.clear()
                self._thread = Thread(target=self._run, name="langchain-cluster-alert-sinks", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait(alert)
        except Full:
            self.lost += 1
            self._failed("outbox", "Full")

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while (alert := self._queue.get()) is not None:
                for sink in self._sinks:
                    self._send(sink, alert, runner)

    def _send(self, sink: AlertSink, alert: Alert, runner: asyncio.Runner) -> None:
        try:
            given = sink(alert)
            if isawaitable(given):
                runner.run(_awaited(given))
            self.sent += 1
        except Exception as error:
            self.lost += 1
            # Its kind alone: the text of an HTTP error has the address in it, and that may be a secret.
            self._failed(name_of(sink), type(error).__name__)

    def close(self, timeout: float) -> bool:
        """Send what waits, for at most `timeout` seconds, and end; whether all of it was sent."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None or thread is current_thread():
            return True
        try:
            self._queue.put(None, timeout=timeout)
        except Full:
            pass
        thread.join(timeout)
        if thread.is_alive():
            self._give_up(thread)
            return False
        return True

    def _give_up(self, thread: Thread) -> None:
        """What a sink hangs in goes on until it returns; the rest is lost."""
        while True:
            try:
                self.lost += self._queue.get_nowait() is not None
            except Empty:
                break
        self._queue.put_nowait(None)
        for sink in self._sinks:
            stop: Any = getattr(sink, "close", None)
            if stop is not None:
                stop()
        thread.join(1.0)


async def _awaited(given: Any) -> None:
    await given


def name_of(sink: Any) -> str:
    """What to call a sink."""
    return str(getattr(sink, "__qualname__", type(sink).__name__))
