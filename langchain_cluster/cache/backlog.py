"""Writes that are put off: who is written to later, and what is lost if the process ends before.

At most `most` writes wait; of a newer one the oldest is dropped and counted. One daemon thread makes them,
from the first on until `close`, which makes those that are left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import inf
from threading import Condition, Thread

Write = Callable[[str, bytes, "float | None"], None]


class Backlog:
    """A bounded queue of writes, the last one of a key counting.

    Args:
        write: makes one; what it raises makes that write a lost one.
        most: writes that may wait, >= 1.
        clock: monotonic seconds; what waits does not live the longer for it.
    """

    def __init__(self, write: Write, most: int, clock: Callable[[], float]) -> None:
        self._write, self._most, self._clock = write, most, clock
        self._changed = Condition()
        self._waiting: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._writing: str | None = None
        self._thread: Thread | None = None
        self._closing = False
        self._after: list[Callable[[], None]] = []
        self.lost = 0

    def add(self, key: str, value: bytes, ttl: float | None) -> None:
        """Write it soon."""
        with self._changed:
            self._waiting.pop(key, None)
            self._waiting[key] = (value, inf if ttl is None else self._clock() + ttl)
            if len(self._waiting) > self._most:
                self._waiting.popitem(last=False)
                self.lost += 1
            if self._thread is None or not self._thread.is_alive():  # a fork has no threads
                self._closing, self._writing = False, None
                self._thread = Thread(target=self._run, name="langchain-cluster-cache-writes", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def then(self, do: Callable[[], None]) -> None:
        """Do something that waits for nothing when no write waits any more: at once if none does."""
        with self._changed:
            if self._waiting or self._writing is not None:
                self._after.append(do)
                return
        do()

    def get(self, key: str) -> bytes | None:
        """What waits to be written under a key."""
        waiting = self._waiting.get(key)
        return None if waiting is None or waiting[1] <= self._clock() else waiting[0]

    def forget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        """Drop the writes of these keys, and wait for one that is under way."""
        with self._changed:
            keys = [key for key in self._waiting if meant(key)] if callable(meant) else list(meant)
            for key in keys:
                self._waiting.pop(key, None)
            self._changed.wait_for(lambda: self._writing is None)
            after = self._due()
        for do in after:
            do()

    def _due(self) -> list[Callable[[], None]]:
        """What was to be done when no write waits any more, if none does."""
        if self._waiting or self._writing is not None:
            return []
        after, self._after = self._after, []
        return after

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                key, (value, expires) = self._waiting.popitem(last=False)
                self._writing = key
            try:
                left = expires - self._clock()
                if left > 0:
                    self._write(key, value, None if left == inf else left)
            except Exception:
                self.lost += 1
            finally:
                with self._changed:
                    self._writing = None
                    after = self._due()
                    self._changed.notify_all()
                for do in after:
                    do()

    def close(self) -> None:
        """Make the writes that wait, and end the thread."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing = True
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def __len__(self) -> int:
        return len(self._waiting)
