"""Which entries there are: by how they are written, by what they mean, and in the order they were used.

Two locks. The short one is for who holds what, and may be taken on an event loop. The long one is for
what takes time (an index, a policy): whoever takes it is on a thread of its own. What is dropped leaves
the book at once, and its index when somebody searches next.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Any

from langchain_cluster.cache.semantic.entry import Entry
from langchain_cluster.cache.semantic.index import VectorIndex
from langchain_cluster.cache.semantic.normal import normal

MakeIndex = Callable[[int], VectorIndex]


class Entries:
    """The entries of all scopes.

    Args:
        make_index: of one scope, from its dimensions.
        most: entries, >= 1; the one not used for longest goes first.
        clock: seconds since 1970.
        gone: told the id of an entry that is no longer there, under the long lock.

    Attributes:
        counts: what happened, by name; changed under the short lock.
        searching: the long lock; it may be taken before the short one, and not after.
    """

    def __init__(
        self, make_index: MakeIndex, most: int, clock: Callable[[], float], gone: Callable[[int], None]
    ) -> None:
        self._make_index, self.most, self._clock, self._tell_gone = make_index, most, clock, gone
        self.counts: Counter[str] = Counter()
        self._by_id: OrderedDict[int, Entry] = OrderedDict()  # the one used last is the last
        self._exact: dict[tuple[str, str], int] = {}
        self._indexes: dict[str, VectorIndex] = {}
        self._leaving: list[Entry] = []
        self._next = 1
        self.renew_locks()

    def renew_locks(self) -> None:
        """After a fork: somebody who is not here may have held them."""
        self._lock, self.searching = RLock(), RLock()

    # -- the short lock -----------------------------------------------------------------------------

    def count(self, *names: str) -> None:
        """One more of each."""
        with self._lock:
            self.counts.update(names)

    def number(self) -> int:
        """The id of the next entry."""
        with self._lock:
            self._next += 1
            return self._next - 1

    def same(self, scope: str, written: str, *, used: bool = True) -> Entry | None:
        """The one of a text that is the same but for how it is written; `used` makes it the one used last."""
        with self._lock:
            entry = self._alive(self._exact.get((scope, written)))
            if entry is not None and used:
                self._by_id.move_to_end(entry.id)
            return entry

    def get(self, id: int) -> Entry | None:
        """The one with this id."""
        with self._lock:
            return self._by_id.get(id)

    def use(self, entry: Entry) -> None:
        """It is the one used last, if it is still there."""
        with self._lock:
            if entry.id in self._by_id:
                self._by_id.move_to_end(entry.id)

    def drop(self, entry: Entry) -> bool:
        """Let one go; whether it was there."""
        with self._lock:
            if self._by_id.pop(entry.id, None) is None:
                return False
            written = entry.scope, normal(entry.text)
            if self._exact.get(written) == entry.id:
                del self._exact[written]
            self._leaving.append(entry)
            return True

    def all(self) -> list[Entry]:
        """Every one, the one used last being the last."""
        with self._lock:
            return list(self._by_id.values())

    def holds(self, scopes: Iterable[str]) -> bool:
        """Whether there may be entries in any of these scopes."""
        return any(scope in self._indexes for scope in scopes)

    @property
    def scopes(self) -> int:
        """How many scopes have entries."""
        return len(self._indexes)

    def _alive(self, id: int | None) -> Entry | None:
        entry = None if id is None else self._by_id.get(id)
        if entry is not None and entry.expires is not None and entry.expires <= self._clock():
            self.counts["expired"] += 1
            self.drop(entry)
            return None
        return entry

    # -- the long lock ------------------------------------------------------------------------------

    def insert(self, entry: Entry) -> None:
        """Keep one, instead of the one of the same text; others make room."""
        written = entry.scope, normal(entry.text)
        with self.searching:
            self._next = max(self._next, entry.id + 1)
            with self._lock:
                before = self._by_id.get(self._exact.get(written, 0))
                self._by_id[entry.id] = entry
                self._exact[written] = entry.id
                if before is not None:
                    self.drop(before)
                while len(self._by_id) > self.most:
                    self.counts["evictions"] += 1
                    self.drop(next(iter(self._by_id.values())))
            index = self._indexes.get(entry.scope)
            if index is None:
                index = self._indexes[entry.scope] = self._make_index(len(entry.vector))
            index.add(entry.id, entry.vector)
            self.sweep()

    def near(self, scope: str, vector: Any, count: int) -> Sequence[tuple[float, Entry]]:
        """(cosine, entry) of at most `count` of a scope, the nearest first."""
        with self.searching:
            self.sweep()
            index = self._indexes.get(scope)
            found = () if index is None else index.nearest(vector, count)
            with self._lock:
                return [(score, entry) for score, id in found if (entry := self._alive(id)) is not None]

    def sweep(self) -> None:
        """Take those that have left out of their indexes."""
        with self.searching:
            while self._leaving:
                entry = self._leaving.pop()
                self._tell_gone(entry.id)
                index = self._indexes.get(entry.scope)
                if index is not None:
                    index.remove(entry.id)
                    if not len(index):
                        del self._indexes[entry.scope]

    def clear(self) -> int:
        """Let all go; how many there were."""
        with self.searching:
            entries = self.all()
            for entry in entries:
                self.drop(entry)
            self.sweep()
            return len(entries)

    def __len__(self) -> int:
        return len(self._by_id)
