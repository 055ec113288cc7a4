"""What semantic caches share, within one process: a fake of `RedisJournals` without a server."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock


class MemoryJournals:
    """Journals in memory, one for each embedder. Safe for threads.

    Args:
        max_records: of one embedder, >= 1; the oldest go first.
    """

    def __init__(self, *, max_records: int = 50_000) -> None:
        self.max_records = max_records
        self._by_name: dict[str, MemoryJournal] = {}
        self._lock = Lock()

    def open(self, fingerprint: str) -> MemoryJournal:
        """The journal of one embedder."""
        with self._lock:
            return self._by_name.setdefault(fingerprint, MemoryJournal(self.max_records))


class MemoryJournal:
    """A `Journal` in a list.

    Args:
        most: records.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._records: list[tuple[int, bytes]] = []
        self._next = 1
        self._restarted = 0

    def append(self, records: Sequence[bytes]) -> None:
        """Add them at the end; the oldest go."""
        with self._lock:
            for record in records:
                self._records.append((self._next, record))
                self._next += 1
            del self._records[: -self._most]

    def read(self, after: str, count: int) -> list[tuple[str, bytes]]:
        """(place, record) of at most `count` behind a place, the oldest first."""
        with self._lock:
            behind = [(str(n), record) for n, record in self._records if n > int(after or 0)]
        return behind[:count]

    def restart(self, record: bytes) -> None:
        """Let all go, and begin with this one."""
        with self._lock:
            self._records, self._restarted = [(self._next, record)], self._next
            self._next += 1

    def resume(self, after: str) -> tuple[str, bool, int]:
        """Where to go on, whether it was restarted since, and how much is to come."""
        with self._lock:
            if int(after or 0) >= self._next:
                return "", False, len(self._records)
            return after, bool(after) and self._restarted > int(after), len(self._records)

    def close(self) -> None:
        """There is nothing to close."""
