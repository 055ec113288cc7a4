"""Are changes in a store told by it? And those of several stores, as if they were one?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any


def listens(store: Any) -> bool:
    """Whether a store tells what changes in it; one made of several does if one of them does."""
    return hasattr(store, "listen") and bool(getattr(store, "listens", True))


class Listening:
    """Listens to several stores: ready when all are listened to, lost when one is not any more.

    Args:
        stores: those that tell. changed, ready, lost: as for one of them.
    """

    def __init__(
        self,
        stores: Sequence[Any],
        *,
        changed: Callable[[list[str] | None], None],
        ready: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._lock = Lock()
        self._heard, self._all = 0, len(stores)
        self._ready, self._lost = ready, lost
        self._lines = [
            store.listen(changed=changed, ready=self._one_ready, lost=self._one_lost) for store in stores
        ]

    def _one_ready(self) -> None:
        with self._lock:
            self._heard += 1
            if self._heard == self._all:
                self._ready()

    def _one_lost(self) -> None:
        with self._lock:
            if self._heard == self._all:
                self._lost()
            self._heard -= 1

    def close(self) -> None:
        """Stop listening, and wait until that is so."""
        for line in self._lines:
            line.close()
