"""Work that waits, blocking or awaited, until it has ended or is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from langchain_cluster.errors import DiscoveryError

T = TypeVar("T")


class Waiting:
    """Everything a source is asked for at the moment.

    Args:
        name: of the source, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._stops: set[Event] = set()

    def run(self, work: Callable[[Event], T], stop: Event | None = None) -> T:
        """`work(stop)`, which returns soon after `stop` is set.

        Raises:
            DiscoveryError: `close` was called meanwhile.
        """
        stop = Event() if stop is None else stop
        with self._lock:
            self._stops.add(stop)
        try:
            answer = work(stop)
        finally:
            with self._lock:
                self._stops.discard(stop)
        if stop.is_set():
            raise DiscoveryError(self._name, "it was closed")
        return answer

    async def arun(self, work: Callable[[Event], T]) -> T:
        """The asyncio twin of `run`. On a thread of its own: the loop's few are not for waiting."""
        loop, stop = asyncio.get_running_loop(), Event()
        ended: asyncio.Future[T] = loop.create_future()

        def settle(error: BaseException | None, answer: Any) -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(answer)
            else:
                ended.set_exception(error)

        def run() -> None:
            error: BaseException | None = None
            answer: Any = None
            try:
                answer = self.run(work, stop)
            except BaseException as raised:
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, error, answer)

        Thread(target=run, name="langchain-cluster-fetch", daemon=True).start()
        try:
            return await ended
        finally:
            stop.set()

    def close(self) -> None:
        """Stop all of it. What begins later is not touched."""
        with self._lock:
            for stop in self._stops:
                stop.set()
