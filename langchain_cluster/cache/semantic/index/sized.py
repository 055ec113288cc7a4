"""Compares with every vector while there are few, and by a graph once there are many."""

from __future__ import annotations

from typing import Any

from langchain_cluster.cache.semantic.index.exhaustive import Exhaustive
from langchain_cluster.cache.semantic.index.graph import Graph

# Entries of one scope. Measured for 384 dimensions: 1,000 / 10,000 / 100,000 entries take numpy 20 / 523 /
# 11,600 µs, usearch 43 / 94 / 311.
LARGE = 5_000
MOVED = 16  # that move into the graph with each new one: all at once would hold up everybody for seconds


class Sized:
    """`Exhaustive`, then `Graph` from more than `large` entries on; without usearch it stays what it is.

    Args:
        dimensions: of its vectors.
        large: entries.
    """

    def __init__(self, dimensions: int, *, large: int = LARGE) -> None:
        self.dimensions, self.large = dimensions, large
        self._all = Exhaustive(dimensions)
        self._graph: Graph | None = None

    def add(self, id: int, vector: Any) -> None:
        """Keep one."""
        if self._graph is None:
            self._all.add(id, vector)
            if len(self._all) > self.large:
                self._grow()
            return
        self._all.remove(id)
        self._graph.add(id, vector)
        for moved, its in self._all.take(MOVED):
            self._graph.add(moved, its)

    def _grow(self) -> None:
        try:
            self._graph = Graph(self.dimensions)
        except ImportError:
            self.large *= 2  # ask again then: whoever installs it in between is not served worse

    def remove(self, id: int) -> None:
        """Drop one."""
        self._all.remove(id)
        if self._graph is not None:
            self._graph.remove(id)

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first."""
        found = self._all.nearest(vector, count)
        if self._graph is None:
            return found
        return sorted(found + self._graph.nearest(vector, count), reverse=True)[:count]

    def __len__(self) -> int:
        return len(self._all) + (0 if self._graph is None else len(self._graph))
