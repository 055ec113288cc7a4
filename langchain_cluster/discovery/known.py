"""What a source said last, and when a new answer is a new roster.

A registry's own index is no revision: Consul's moves when anything moves, and may go backwards.
So revisions are counted here, and one is new exactly when the roster is.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from langchain_cluster.model.endpoint import Endpoint, Load, Rejected, Roster


class Known:
    """The last roster of a source; safe to be shared by several who watch it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.roster: Roster | None = None
        self.answers = 0  # how many have settled

    def settle(
        self,
        endpoints: tuple[Endpoint, ...],
        rejected: tuple[Rejected, ...],
        loads: Mapping[str, Load],
        *,
        began: int,
    ) -> Roster | None:
        """The roster of a new answer: the last one itself when nothing has changed.

        began: `answers` when it was asked for. When another has settled since, nobody can tell which of
        them is older: None, and it has to be asked for again.
        """
        with self._lock:
            last = self.roster
            if self.answers != began:
                return None
            self.answers += 1
            if (
                last is not None
                and last.endpoints == endpoints
                and last.rejected == rejected
                and last.loads == loads
            ):
                return last
            self.roster = Roster(endpoints, 1 if last is None else last.revision + 1, rejected, loads)
            return self.roster

    def is_new_to(self, after: int | None) -> bool:
        """Whether whoever has seen revision `after` has to be told, as far as is known here."""
        return after is None or self.roster is None or self.roster.revision != after

    def __repr__(self) -> str:
        if self.roster is None:
            return "nothing known yet"
        return f"{len(self.roster.endpoints)} endpoints, revision {self.roster.revision}"
