"""Who leaves a full cache? One small class per policy; only `lru` needs to hear of hits.

`uses` and `expires` are read off the entries, so that a hit changes one number and takes no lock.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import Protocol


class Entry:
    """A value, when it expires (monotonic seconds), how often it was read, and how often when last seen."""

    __slots__ = ("expires", "seen", "uses", "value")

    def __init__(self, value: bytes, expires: float) -> None:
        self.value, self.expires, self.uses, self.seen = value, expires, 0, 0


class Order(Protocol):
    """An order of keys to leave in. Called under the cache's lock."""

    def added(self, key: str, entry: Entry) -> None: ...
    def removed(self, key: str) -> None: ...
    def used(self, key: str) -> None: ...
    def changed(self, key: str, entry: Entry) -> None: ...

    def victim(self, entries: dict[str, Entry]) -> str:
        """Who leaves next; there is at least one, and the newest is not alone."""


class Fifo:
    """The oldest leaves."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def added(self, key: str, entry: Entry) -> None:
        """The newest."""
        self._keys[key] = None

    def removed(self, key: str) -> None:
        """Gone."""
        self._keys.pop(key, None)

    def used(self, key: str) -> None:
        """Makes no difference."""

    def changed(self, key: str, entry: Entry) -> None:
        """Nor does another time to live."""

    def victim(self, entries: dict[str, Entry]) -> str:
        """The oldest."""
        return next(iter(self._keys))


class Lru(Fifo):
    """The least recently used leaves."""

    def used(self, key: str) -> None:
        """Now the most recently used."""
        if key in self._keys:
            self._keys.move_to_end(key)


class Sieve:
    """The first that was not used since the hand last came by (Zhang et al., SIEVE, NSDI 2024).

    The hand goes from the oldest to the newest. What it has spared stays in place, behind it; when it
    has passed the newest it begins again with the oldest.
    """

    def __init__(self) -> None:
        self._ahead: OrderedDict[str, None] = OrderedDict()
        self._behind: OrderedDict[str, None] = OrderedDict()

    def added(self, key: str, entry: Entry) -> None:
        """The newest: the last the hand will come to."""
        self._ahead[key] = None

    def removed(self, key: str) -> None:
        """Gone."""
        if self._ahead.pop(key, key) is key:
            self._behind.pop(key, None)

    def used(self, key: str) -> None:
        """The mark is on the entry: it was read since the hand came by."""

    def changed(self, key: str, entry: Entry) -> None:
        """Makes no difference."""

    def victim(self, entries: dict[str, Entry]) -> str:
        """The next without a mark; marks passed on the way are wiped.

        The newest is passed too: in the paper it comes in after the victim has left.
        """
        newest = next(reversed(entries))
        while True:
            if not self._ahead:
                self._ahead, self._behind = self._behind, self._ahead
            key = next(iter(self._ahead))
            entry = entries[key]
            if entry.uses == entry.seen and key != newest:
                return key
            entry.seen = entry.uses
            del self._ahead[key]
            self._behind[key] = None


class _Heap:
    """Least first. What has grown meanwhile is pushed back when it comes up, what has left is dropped."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._ages: dict[str, int] = {}  # a key that comes back is not its former self
        self._count = 0

    def number(self, entry: Entry) -> float:
        """What to go by."""
        raise NotImplementedError

    def added(self, key: str, entry: Entry) -> None:
        """Take it in."""
        self._count += 1
        self._ages[key] = self._count
        if len(self._heap) > 2 * len(self._ages) + 16:  # mostly of those that have left
            self._heap = [item for item in self._heap if self._ages.get(item[2]) == item[1]]
            heapify(self._heap)
        heappush(self._heap, (self.number(entry), self._count, key))

    def removed(self, key: str) -> None:
        """Seen when it comes up."""
        self._ages.pop(key, None)

    def used(self, key: str) -> None:
        """Seen when it comes up."""

    def changed(self, key: str, entry: Entry) -> None:
        """It may have to come up sooner."""
        self.added(key, entry)

    def victim(self, entries: dict[str, Entry]) -> str:
        """The least, oldest first among equals. The newest entry is spared its first time."""
        newest = next(reversed(entries))
        spared: tuple[float, int, str] | None = None
        while True:
            number, age, key = heappop(self._heap)
            if self._ages.get(key) != age:
                continue
            entry = entries[key]
            if self.number(entry) > number:
                heappush(self._heap, (self.number(entry), age, key))
            elif key == newest:
                spared = (number, age, key)
            else:
                if spared is not None:
                    heappush(self._heap, spared)
                return key


class Lfu(_Heap):
    """The least often used leaves."""

    def number(self, entry: Entry) -> float:
        """Uses so far."""
        return entry.uses


class Soonest(_Heap):
    """The next to expire leaves."""

    def number(self, entry: Entry) -> float:
        """When it expires."""
        return entry.expires


ORDERS: dict[str, type[Order]] = {"sieve": Sieve, "lru": Lru, "lfu": Lfu, "fifo": Fifo, "ttl": Soonest}
