"""What others change in a shared store must leave the layers before it: when is what they hold still true?

While the store is listened to, an entry of a near layer is dropped as soon as its key changes there. While
it is not, near layers keep entries for a short time only, and what they held when it was lost is dropped.

Two races are closed here. A value that was read, or is being written, when its key changed must not settle
in a near layer: who fills takes a note before, and drops what it filled when its note is gone after. And our
own writes are told to us too: the store is then asked whether it still holds what we wrote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any

from langchain_cluster.cache.lifetime import sooner

OWN = 1.0  # seconds for which a write of ours is remembered, and how many of them
MOST_OWN = 4_096


class Coherence:
    """Keeps the layers before a shared store true to it.

    Args:
        near: the layers before it.
        store: has `listen` and `peek`.
        fallback_ttl: seconds a near layer keeps an entry while the store is not listened to.
    """

    def __init__(self, near: Sequence[Any], store: Any, fallback_ttl: float) -> None:
        self.near, self.store, self.fallback_ttl = near, store, fallback_ttl
        self.listening = False
        self._lock = Lock()
        self._line: Any = None
        self._process = os.getpid()
        self._notes: dict[str, object] = {}
        self._own: dict[str, tuple[bytes, float]] = {}

    def start(self) -> None:
        """Listen, if that has not begun."""
        if self._line is not None and self._process == os.getpid():
            return
        with self._lock:
            if self._line is not None and self._process != os.getpid():
                self._forget(None)  # a fork has the entries, and nobody who listens
                self.listening, self._line = False, None
            if self._line is None:
                self._process = os.getpid()
                self._line = self.store.listen(changed=self._changed, ready=self._ready, lost=self._lost)

    def lives(self, layer: Any, ttl: float | None) -> float | None:
        """How long a layer keeps what may live for `ttl` seconds."""
        if self.listening or all(layer is not one for one in self.near):
            return ttl
        return sooner(sooner(ttl, getattr(layer, "ttl", None)), self.fallback_ttl)

    # -- who fills ----------------------------------------------------------------------------------

    def note(self, keys: Iterable[str]) -> dict[str, object]:
        """Taken before the store is read or written."""
        taken = {key: object() for key in keys}
        self._notes.update(taken)
        return taken

    def stale(self, taken: dict[str, object]) -> list[str]:
        """Give a note back: the keys that have changed meanwhile, under which to drop what was filled."""
        gone = []
        for key, note in taken.items():
            if self._notes.get(key) is note:
                self._notes.pop(key, None)
            else:
                gone.append(key)
        return gone

    def wrote(self, key: str, value: bytes) -> None:
        """We are about to write this into the store, and shall be told of it."""
        now = time.monotonic()
        if len(self._own) >= MOST_OWN:
            self._own = {k: own for k, own in list(self._own.items()) if own[1] > now}
            if len(self._own) >= MOST_OWN:
                return
        self._own[key] = (value, now + OWN)

    # -- who listens, on its thread -------------------------------------------------------------------

    def _changed(self, keys: list[str] | None) -> None:
        if keys is None:
            self._forget(None)
            return
        for key in keys:
            own = self._own.get(key)
            if own is not None and own[1] > time.monotonic() and self.store.peek(key) == own[0]:
                continue
            self._forget(key)

    def _ready(self) -> None:
        self.listening = True

    def _lost(self) -> None:
        self.listening = False
        self._forget(None)

    def _forget(self, key: str | None) -> None:
        # The notes first: whoever fills after this sees that its own is gone.
        if key is None:
            self._notes.clear()
        else:
            self._notes.pop(key, None)
        for layer in self.near:
            if key is None:
                layer.clear()
            else:
                layer.delete(key)

    def close(self) -> None:
        """Stop listening. What the near layers hold is not true for long: they let it go."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None and self._process == os.getpid():
            line.close()
