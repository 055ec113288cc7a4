"""When a semantic cache is written to its file, and what is taken from it at the start."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from langchain_cluster.cache.semantic.entries import Entries
from langchain_cluster.cache.semantic.file import read, write
from langchain_cluster.cache.semantic.judge import Judge

EVERY = 60.0  # seconds between two writes of the file


class Persisted:
    """A cache's file, or none.

    Args:
        path: None for none. fingerprint: of the embedder. clock: seconds since 1970.

    Attributes:
        changed: whether there is something to write.
    """

    def __init__(
        self, path: str | PathLike[str] | None, fingerprint: str, clock: Callable[[], float]
    ) -> None:
        self.path, self._fingerprint, self._clock = path, fingerprint, clock
        self._saved, self.changed = clock(), False

    def due(self) -> bool:
        """Whether it is time to write it."""
        return self.path is not None and self._clock() - self._saved >= EVERY

    def save(self, entries: Entries, judge: Judge, place: str) -> None:
        """Write it, if something has changed. `place` is up to where others were heard. Raises OSError."""
        if self.path is None:
            return
        with entries.searching:
            if self.changed:
                write(self.path, self._fingerprint, entries.all(), judge.state(), place)
            self._saved, self.changed = self._clock(), False

    def load(self, entries: Entries, judge: Judge) -> str:
        """Take what it holds; up to where others were heard then.

        Raises:
            ConfigError: it is of another embedder.
        """
        kept = None if self.path is None else read(self.path, self._fingerprint)
        if kept is None:
            return ""
        now = self._clock()
        for entry in kept.entries:
            if entry.expires is None or entry.expires > now:
                entries.insert(entry)
        judge.restore(kept.learned, entries)
        return kept.place
