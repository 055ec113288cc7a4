"""A roster that is written down in the program."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_cluster.model.endpoint import Endpoint, Roster


class StaticDiscovery:
    """Endpoints that never change by themselves; `update` changes them.

    `fetch` returns at once: there is nothing to wait for.

    Args:
        endpoints: the roster.
    """

    watched = False  # a cluster reads it once and does not watch it

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._roster = Roster(tuple(endpoints), 1)

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the roster for whoever fetches next."""
        self._roster = Roster(tuple(endpoints), self._roster.revision + 1)

    def fetch(self, after: int | None = None) -> Roster:
        """The roster, whatever `after` is."""
        return self._roster

    async def afetch(self, after: int | None = None) -> Roster:
        """The roster, whatever `after` is."""
        return self._roster

    def __repr__(self) -> str:
        return f"StaticDiscovery({len(self._roster.endpoints)} endpoints)"
