"""A gate that many wait at until it opens, on threads and in event loops, each for as long as it has.

Waiting costs a thread nothing but itself, and a task no thread: a pool of threads that all wait for a
registry would let nobody else work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock

from langchain_cluster.ports import Clock


class Gate:
    """Closed at first, and open from then on."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = False
        self._waiting: list[Callable[[], object]] = []

    @property
    def is_open(self) -> bool:
        """Whether nobody has to wait."""
        return self._open

    def open(self) -> None:
        """Let everybody through, now and later."""
        with self._lock:
            self._open = True
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()

    def wait(self, clock: Clock, until: float | None) -> bool:
        """Block until it is open (True) or the time is `until` (False)."""
        own = Lock()
        own.acquire()
        if self._queue(own.release):
            clock.wait(own, until)
            self._leave(own.release)
        return self._open

    async def await_(self, clock: Clock, until: float | None) -> bool:
        """The asyncio twin of `wait`."""
        loop, opened = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(opened.set)

        if self._queue(tell):
            try:
                async with clock.timeout_at(until):
                    await opened.wait()
            except TimeoutError:
                pass  # the answer below says so
            finally:
                self._leave(tell)
        return self._open

    def _queue(self, tell: Callable[[], object]) -> bool:
        with self._lock:
            if not self._open:
                self._waiting.append(tell)
            return not self._open

    def _leave(self, tell: Callable[[], object]) -> None:
        with self._lock:
            if tell in self._waiting:
                self._waiting.remove(tell)

    def __repr__(self) -> str:
        return f"<Gate {'open' if self._open else 'closed'}, {len(self._waiting)} wait>"
