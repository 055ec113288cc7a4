"""A cache of meanings that is shared among processes follows the others while its cluster runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_cluster.model.events import CacheFailed, Event


class SharedAnswers:
    """From `begin` to `end` a store that can follows others, and its failures are events.

    Args:
        store: an `AlikeStore`; one without `start` and `subscribe` shares nothing.
        emit, now: events, and when.
    """

    def __init__(self, store: Any, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._store, self._emit, self._now = store, emit, now
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self) -> None:
        """Follow, if that has not begun. Returns at once."""
        if self._unsubscribe is None and callable(getattr(self._store, "subscribe", None)):
            self._unsubscribe = self._store.subscribe(self._failed)
            self._store.start()

    def end(self) -> None:
        """Hear of nothing any more."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _failed(self, operation: str, error: str) -> None:
        self._emit(CacheFailed(self._now(), operation, error))
