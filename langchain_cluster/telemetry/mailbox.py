"""Events carried from whatever thread they happen on to one event loop: in order, and whole or not at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from threading import RLock

from langchain_cluster.errors import ClusterError
from langchain_cluster.model.events import Event

MOST_WAITING = 65_536  # events; whoever is so far behind has stopped reading


class Mailbox:
    """A queue between threads and one loop's reader. Putting never blocks.

    Args:
        loop: the reader's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = RLock()  # its reader may be collected while we hold it
        self._waiting: deque[Event] = deque()
        self._ended = self._lost = False
        self._called = False  # one wake-up is on its way; more would tell the reader nothing
        self._woken = asyncio.Event()

    def put(self, event: Event) -> None:
        """Leave an event; from any thread. Too many unread ones end it: a gap would be a lie."""
        with self._lock:
            if self._ended:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._ended = self._lost = True
            else:
                self._waiting.append(event)
        self._wake()

    def end(self) -> None:
        """No more will come; what is there can still be read."""
        with self._lock:
            self._ended = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._called:
                return
            self._called = True
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:
            self._ended = True  # the reader's loop is closed: nobody will read any more

    async def next(self) -> Event | None:
        """The next event, None after the last. Raises ClusterError when more came than are kept."""
        while True:
            with self._lock:
                self._called = False
                self._woken.clear()
                if self._waiting:
                    return self._waiting.popleft()
                if self._lost:
                    raise ClusterError(
                        f"{MOST_WAITING} events were not read in time, and the rest are lost: "
                        "read faster, or subscribe a listener"
                    )
                if self._ended:
                    return None
            await self._woken.wait()


class EventStream:
    """`async for event in cluster.events`: every event from now on, until the cluster closes.

    Leaving the loop, however it happens, ends the subscription.
    """

    def __init__(self, mailbox: Mailbox, leave: Callable[[], None]) -> None:
        self._mailbox, self._leave = mailbox, leave

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        event = await self._mailbox.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Hear no more."""
        self._leave()
        self._mailbox.end()

    def __del__(self) -> None:
        # A `break` out of `async for` closes nothing, but drops the stream.
        self._leave()


async def read_aloud(
    mailbox: Mailbox, listener: Callable[[Event], Awaitable[None]], failed: Callable[[Event, Exception], None]
) -> None:
    """Hand a mailbox's events to an async listener, one after the other, until it ends."""
    while (event := await mailbox.next()) is not None:
        try:
            await listener(event)
        except Exception as error:
            failed(event, error)
