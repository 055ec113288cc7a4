"""When a semantic cache begins to follow others, what it lets go of, and how it ends."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable

from langchain_cluster.cache.selection import Invalidates, Selection
from langchain_cluster.cache.semantic.entries import Entries, MakeIndex
from langchain_cluster.cache.semantic.judge import Judge
from langchain_cluster.cache.semantic.persist import Persisted
from langchain_cluster.cache.semantic.share import Shared
from langchain_cluster.cache.semantic.stats import COUNTED, SemanticStats
from langchain_cluster.cache.semantic.vectors import Vectors


class Life(Invalidates):
    """What concerns a cache as a whole. Its arguments are told in `SemanticCache`."""

    _entries: Entries
    _file: Persisted
    _index: MakeIndex
    _judge: Judge
    _shared: Shared
    _vectors: Vectors

    def start(self) -> None:
        """Follow what others share; the first question does that too. Returns at once."""
        self._shared.start()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until all is known that others had shared before, at most `timeout` seconds; whether it is."""
        return self._shared.wait_ready(timeout)

    def subscribe(self, report: Callable[[str, str], None]) -> Callable[[], None]:
        """Have failures of sharing told, on another thread: (what was tried, the kind of error).

        Returns:
            What ends that.
        """
        return self._shared.subscribe(report)

    def clear(self) -> int:
        """Forget all entries, wherever they are shared, and the length of vectors; what was learned stays.

        Returns:
            How many there were here.
        """
        self._shared.cleared()
        count = self._entries.clear()
        self._vectors.clear()
        self._file.changed = True
        return count

    def remove(self, selected: Selection) -> int:
        """Let go of what is selected, wherever it is shared; how many there were here."""
        gone = 0
        for entry in self._entries.all():
            raw = entry.raw if isinstance(entry.raw, bytes) else b""
            if selected.means(entry.scope) and selected.has(raw) and self._entries.drop(entry):
                self._shared.dropped(entry)
                gone += 1
        self._file.changed = self._file.changed or gone > 0
        return gone

    async def aremove(self, selected: Selection) -> int:
        """See `remove`."""
        return await to_thread(self.remove, selected)

    def stats(self) -> SemanticStats:
        """Counts since it was made."""
        return SemanticStats(
            **{name: self._entries.counts[name] for name in COUNTED},
            entries=len(self._entries),
            scopes=self._entries.scopes,
            labels=self._judge.labels,
            guarded=dict(self._judge.guarded),
            **self._shared.counts(),
        )

    def save(self) -> None:
        """Write the file now; nothing without a path. Raises OSError."""
        self._file.save(self._entries, self._judge, self._shared.place)

    def close(self) -> None:
        """Tell others what they do not know yet, write the file, close the index. It can be used again."""
        self._shared.close()
        self.save()
        if callable(drop := getattr(self._index, "close", None)):
            drop()

    async def aclose(self) -> None:
        """The asyncio twin of `close`."""
        await to_thread(self.close)

    def __len__(self) -> int:
        return len(self._entries)
