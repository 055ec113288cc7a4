"""Writes that are put off: who is written to later, and what is lost if the process ends before.

At most `most` writes wait; of a newer one the oldest is dropped and counted. One daemon thread makes them,
from the first on until `close`, which makes those that are left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import inf
from threading import Condition, Thread, current_thread

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
        # A value, when it expires, and its number: those that wait are in the order of their numbers.
        self._waiting: OrderedDict[str, tuple[bytes, float, int]] = OrderedDict()
        self._writing: tuple[str, int] | None = None
        self._count = 0
        self._thread: Thread | None = None
        self._after: list[tuple[int, Callable[[], None]]] = []
        self.lost = 0

    def add(self, key: str, value: bytes, ttl: float | None) -> None:
        """Write it soon."""
        with self._changed:
            self._count += 1
            self._waiting.pop(key, None)
            self._waiting[key] = (value, inf if ttl is None else self._clock() + ttl, self._count)
            if len(self._waiting) > self._most:
                self._waiting.popitem(last=False)
                self.lost += 1
            self._wake()

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # a fork has no threads
            self._writing = None
            self._thread = Thread(target=self._run, name="langchain-cluster-cache-writes", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _made(self, number: int) -> bool:
        """Whether of the first so many writes none is to be made any more."""
        if self._writing is not None and self._writing[1] <= number:
            return False
        return not self._waiting or next(iter(self._waiting.values()))[2] > number

    def then(self, do: Callable[[], None]) -> None:
        """Do something that waits for nothing when what waits now is written: at once if nothing does."""
        with self._changed:
            if not self._made(self._count):
                self._after.append((self._count, do))
                return
        do()

    def get(self, key: str) -> bytes | None:
        """What waits to be written under a key."""
        waiting = self._waiting.get(key)
        return None if waiting is None or waiting[1] <= self._clock() else waiting[0]

    def forget(self, meant: Callable[[str], object] | Iterable[str]) -> None:
        """Drop the writes of these keys, and wait for one of them that is under way."""
        if not callable(meant):
            meant = frozenset(meant).__contains__
        with self._changed:
            for key in [key for key in self._waiting if meant(key)]:
                self._waiting.pop(key, None)
            writing = self._writing
            if writing is not None and meant(writing[0]):
                self._changed.wait_for(lambda: self._writing is not writing)
            after = self._due()
        for do in after:
            do()

    def _due(self) -> list[Callable[[], None]]:
        """What was to be done after writes that are made."""
        due = [do for number, do in self._after if self._made(number)]
        self._after = [later for later in self._after if not self._made(later[0])]
        return due

    def _run(self) -> None:
        me = current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._thread is not me)
                if self._thread is not me:
                    return
                key, (value, expires, number) = self._waiting.popitem(last=False)
                self._writing = key, number
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

    def flush(self) -> None:
        """Wait until the writes that wait now are made; those that come meanwhile keep nobody waiting."""
        with self._changed:
            if self._waiting:
                self._wake()
            number = self._count
            self._changed.wait_for(lambda: self._made(number))

    def close(self) -> None:
        """Make the writes that wait, and end the thread, unless somebody goes on writing."""
        self.flush()
        with self._changed:
            thread = self._thread
            if self._waiting or self._writing is not None:
                return
            self._thread = None
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def __len__(self) -> int:
        return len(self._waiting)
