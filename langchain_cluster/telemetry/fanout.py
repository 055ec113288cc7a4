"""Events out to whoever listens: in order, one at a time, and none is lost to a listener that raises."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from langchain_cluster.model.events import Event, ListenerFailed
from langchain_cluster.ports import EventListener


class EventFanout:
    """Tells listeners. Whoever emits while another thread is telling leaves the event to that thread."""

    def __init__(self) -> None:
        self._listeners: tuple[EventListener, ...] = ()
        self._lock = Lock()
        self._telling = Lock()
        self._queue: deque[Event] = deque()

    def subscribe(self, listener: EventListener) -> Callable[[], None]:
        """Call `listener` with every event from now on; the result unsubscribes it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

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
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:
                if not isinstance(event, ListenerFailed):  # or a broken listener would go on for ever
                    name = getattr(listener, "__qualname__", type(listener).__name__)
                    self._queue.append(ListenerFailed(event.at, name, type(error).__name__))
