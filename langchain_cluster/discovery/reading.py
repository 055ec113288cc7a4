"""From all entries of an answer to its endpoints; one bad entry costs nobody else anything.

A registry says everything again whenever one thing changes, so what is made of an entry is kept until it
says something else: of 200 that are there already, a change costs one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from langchain_cluster.discovery.entry import FIELDS, Entry, endpoint_of
from langchain_cluster.model.endpoint import Endpoint, Load, Rejected


class Reading:
    """Reads the answers of one source; safe to be shared by several who watch it.

    Args:
        mapping: field of an endpoint -> the key it is read from, as `mapping_of` gives it.
    """

    def __init__(self, mapping: Mapping[str, str] = FIELDS) -> None:
        self._mapping = mapping
        self._made: dict[str, tuple[Entry, Endpoint]] = {}  # of the last answer; replaced as a whole

    def read(
        self, entries: Iterable[Entry | Rejected]
    ) -> tuple[tuple[Endpoint, ...], tuple[Rejected, ...], Mapping[str, Load]]:
        """The endpoints in the order of their ids, who was left out, and loads; the first of an id wins."""
        before, made = self._made, dict[str, tuple[Entry, Endpoint]]()
        rejected: list[Rejected] = []
        loads: dict[str, Load] = {}
        for entry in entries:
            if isinstance(entry, Rejected):
                rejected.append(entry)
                continue
            id: Any = entry.id  # whatever a registry may have there
            known = before.get(id) if isinstance(id, str) else None
            found = known[1] if known is not None and known[0] == entry else endpoint_of(entry, self._mapping)
            if isinstance(found, Rejected):
                rejected.append(found)
            elif found.id in made:
                rejected.append(Rejected(found.id, "another one has its id"))
            else:
                made[found.id] = entry, found
                if entry.load is not None:
                    loads[found.id] = entry.load
        self._made = made
        return tuple(made[id][1] for id in sorted(made)), tuple(rejected), MappingProxyType(loads)

    def __repr__(self) -> str:
        return f"<Reading, {len(self._made)} endpoints>"
