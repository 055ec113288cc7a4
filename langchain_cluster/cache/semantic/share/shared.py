"""What others say, done to the entries here; and what happens here, said to others."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

from langchain_cluster.cache.semantic.entries import Entries
from langchain_cluster.cache.semantic.entry import Entry
from langchain_cluster.cache.semantic.normal import normal
from langchain_cluster.cache.semantic.share.follower import Follower
from langchain_cluster.cache.semantic.share.record import Cleared, Dropped, Kept, Record
from langchain_cluster.cache.semantic.share.seam import Journal

Report = Callable[[str, str], None]


class Shared:
    """The entries of one cache and a journal.

    Args:
        journal: None: nothing is shared.
        entries: changed by what is heard.
        insert: keeps what another has kept; whether to learn from it.
        suits: whether a record is to be kept here at all.
        dimensions: of every vector; asked on a thread.
        place: up to where the journal is known already.
        seed: chance, for the pauses after a failure.
    """

    def __init__(
        self,
        journal: Journal | None,
        entries: Entries,
        insert: Callable[[Kept, bool], None],
        suits: Callable[[Kept], bool],
        *,
        dimensions: Callable[[], int],
        place: str = "",
        seed: int | None = None,
    ) -> None:
        self._entries, self._insert, self._suits = entries, insert, suits
        self._reports: list[Report] = []
        self.follower: Follower | None = None
        if journal is not None:
            self.follower = Follower(
                journal,
                dimensions=dimensions,
                hear=self._hear,
                forgotten=self._forget,
                failed=self._report,
                place=place,
                seed=seed,
            )

    def start(self) -> None:
        """Follow, if that has not begun."""
        if self.follower is not None:
            self.follower.start()

    def wait_ready(self, timeout: float | None) -> bool:
        """Wait until all was heard that had been told before; whether it was."""
        self.start()
        return self.follower is None or self.follower.caught_up.wait(timeout)

    def kept(self, kept: Kept) -> None:
        """An entry was kept here."""
        if self.follower is not None:
            self.follower.tell(kept)

    def dropped(self, entry: Entry) -> None:
        """The answer of an entry is no longer right."""
        if self.follower is not None:
            self.follower.start()
            self.follower.tell(Dropped(entry.scope, entry.text, entry.digest))

    def cleared(self) -> None:
        """All were let go here, and are to go everywhere."""
        if self.follower is not None:
            self.follower.start()
            self.follower.tell(Cleared(token_hex(8)))

    @property
    def place(self) -> str:
        """Up to where the journal is known."""
        return "" if self.follower is None else self.follower.place

    def counts(self) -> dict[str, int]:
        """What was told and heard, by name."""
        if self.follower is None:
            return {}
        return {name: self.follower.counts[name] for name in Follower.NAMES}

    def subscribe(self, report: Report) -> Callable[[], None]:
        """Have failures told, until what this returns is called."""
        self._reports.append(report)
        return lambda: self._reports.remove(report)

    def close(self) -> None:
        """Tell what waits, and follow no longer."""
        if self.follower is not None:
            self.follower.close()

    def _report(self, error: str) -> None:
        for report in list(self._reports):
            report("share by meaning", error)

    def _forget(self) -> None:
        self._entries.clear()

    def _hear(self, said: Record, learn: bool) -> None:
        if isinstance(said, Cleared):
            return
        known = self._entries.same(said.scope, normal(said.text), used=False)
        same = known is not None and known.digest == said.digest
        if isinstance(said, Dropped):
            if known is not None and same:
                self._entries.drop(known)
        elif not same and self._suits(said):  # the same are our own words, or as good
            self._insert(said, learn)
