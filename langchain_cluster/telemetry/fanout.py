"""Events out to whoever listens: in order, one at a time, and none is lost to a listener that raises."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from threading import Lock, RLock
from typing import Any, cast

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.events import CallEnded, Event, ListenerFailed
from langchain_cluster.ports import AsyncEventListener, EventListener
from langchain_cluster.telemetry.mailbox import EventStream, Mailbox, read_aloud


class EventFanout:
    """Tells listeners. Whoever emits while another thread is telling leaves the event to that thread.

    `async for event in fanout` hears every event from then on, until `close`.
    """

    def __init__(self) -> None:
        self._listeners: tuple[EventListener, ...] = ()
        self._of_calls: tuple[EventListener, ...] = ()  # those of them that want each call's end as well
        self._mailboxes: dict[
            Mailbox, asyncio.Task[None] | None
        ] = {}  # tasks are held: loops hold them weakly
        self._lock = RLock()  # a stream that is collected while we hold it unsubscribes
        self._telling = Lock()
        self._queue: deque[Event] = deque()
        self._closed = False

    def subscribe(
        self, listener: EventListener | AsyncEventListener, *, calls: bool = True
    ) -> Callable[[], None]:
        """Call `listener` with every event from now on; the result unsubscribes it.

        An async listener runs in a task of the running event loop, which also reads what happens on
        other threads, one event after the other, until it is unsubscribed or the cluster closes.

        Args:
            calls: False: all but `CallEnded`, the one event of a call that goes well. While nobody wants
                that it is not built, and such a listener costs a call nothing.

        Raises:
            ConfigError: it is not callable, or async and there is no running event loop.
        """
        if not callable(listener):
            raise ConfigError(f"{listener!r} cannot be called with an event", key="events.subscribe")
        if is_async(listener):
            return self._subscribe_async(cast(AsyncEventListener, listener), calls)
        return self._add(cast(EventListener, listener), calls)

    def _add(self, listener: EventListener, calls: bool = True) -> Callable[[], None]:
        with self._lock:
            self._listeners = (*self._listeners, listener)
            if calls:
                self._of_calls = (*self._of_calls, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)
                self._of_calls = tuple(other for other in self._of_calls if other is not listener)

        return unsubscribe

    def _subscribe_async(self, listener: AsyncEventListener, calls: bool) -> Callable[[], None]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigError(
                "an async listener needs a running event loop: subscribe it from a coroutine",
                key="events.subscribe",
            ) from None
        mailbox, leave = self._open(loop, calls)

        def failed(event: Event, error: Exception) -> None:
            self._failed(listener, event, error)

        reading = loop.create_task(read_aloud(mailbox, listener, failed), name="langchain-cluster-events")
        self._mailboxes[mailbox] = reading
        reading.add_done_callback(lambda task: leave())
        return leave

    def _open(
        self, loop: asyncio.AbstractEventLoop, calls: bool = True
    ) -> tuple[Mailbox, Callable[[], None]]:
        mailbox = Mailbox(loop)
        unsubscribe = self._add(mailbox.put, calls)
        self._mailboxes[mailbox] = None
        if self._closed:  # nobody would end it any more
            mailbox.end()

        def leave() -> None:
            unsubscribe()
            self._mailboxes.pop(mailbox, None)
            mailbox.end()

        return mailbox, leave

    def __aiter__(self) -> EventStream:
        return EventStream(*self._open(asyncio.get_running_loop()))

    def close(self) -> None:
        """End what hears on event loops, once it has heard what happened; plain listeners stay.

        Who begins to listen on a loop after that hears nothing, and ends at once.
        """
        self._closed = True
        for mailbox in list(self._mailboxes):
            mailbox.end()

    @property
    def heard(self) -> bool:
        """Whether anybody wants the end of every call."""
        return bool(self._of_calls)

    def emit(self, event: Event) -> None:
        """Tell everybody; returns at once when nobody listens."""
        if not self._listeners:
            return
        self._queue.append(event)
        # A listener may cause events, and others may emit meanwhile: whoever holds the lock tells them
        # all. Looking again after letting go covers what came in between.
        while self._queue and self._telling.acquire(blocking=False):
            try:
                while self._queue:
                    self._tell(self._queue.popleft())
            finally:
                self._telling.release()

    def _tell(self, event: Event) -> None:
        for listener in self._of_calls if type(event) is CallEnded else self._listeners:
            try:
                listener(event)
            except Exception as error:
                self._queue.extend(_failure(listener, event, error))

    def _failed(self, listener: AsyncEventListener, event: Event, error: Exception) -> None:
        for failure in _failure(listener, event, error):
            self.emit(failure)


def _failure(listener: Any, event: Event, error: Exception) -> list[Event]:
    if isinstance(event, ListenerFailed):  # or a broken listener would go on for ever
        return []
    name = getattr(listener, "__qualname__", type(listener).__name__)
    return [ListenerFailed(event.at, name, type(error).__name__)]


def is_async(listener: Callable[[Event], Awaitable[None] | None]) -> bool:
    """Whether calling it gives something to await."""
    return iscoroutinefunction(listener) or iscoroutinefunction(getattr(listener, "__call__", None))  # noqa: B004
