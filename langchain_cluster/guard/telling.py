"""Who hears of a breaker's transitions: everybody, in order, one at a time, and never under its lock."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from threading import Lock

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.events import BreakerChanged

Listener = Callable[[BreakerChanged], object]


class Telling:
    """What is still to be told, and to whom. `add` is called under the owner's lock, `tell` after it.

    Whoever comes while another thread is telling leaves its news to that thread, so two transitions
    are never told the wrong way round.
    """

    __slots__ = ("_busy", "_listeners", "_news")

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._news: deque[BreakerChanged] = deque()
        self._busy = Lock()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` too; the result ends that. Raises ConfigError when it cannot be called."""
        if not callable(listener):
            raise ConfigError(f"{type(listener).__name__} cannot be called with an event", key="on_change")
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def add(self, change: BreakerChanged) -> None:
        """Something to tell."""
        if self._listeners:
            self._news.append(change)

    def tell(self) -> None:
        """Tell what there is, unless somebody is telling already: they will tell this too."""
        # Looked at again after the release: news may have come just before it.
        while self._news and self._busy.acquire(blocking=False):
            try:
                while self._news:
                    self._tell(self._news.popleft())
            finally:
                self._busy.release()

    def _tell(self, change: BreakerChanged) -> None:
        for listener in self._listeners:
            try:
                listener(change)
            except Exception as error:
                # Whoever made the call that changed the state is not to blame for a listener.
                text = f"{listener!r} raised {error!r} when it was told of {change!r}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
