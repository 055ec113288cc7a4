"""Compares with every vector while there are few, and by a graph once there are many."""

from __future__ import annotations

from typing import Any

from langchain_cluster.cache.semantic.index.exhaustive import Exhaustive
from langchain_cluster.cache.semantic.index.graph import Graph

# Entries of one scope. Measured for 384 dimensions: 1,000 / 10,000 / 100,000 entries take numpy 20 / 523 /
# 11,600 µs, usearch 43 / 94 / 311.
LARGE = 5_000


class Sized:
    """`Exhaustive`, then `Graph` from more than `large` entries on; without usearch it stays what it is.

    Args:
        dimensions: of its vectors.
        large: entries.
    """

    def __init__(self, dimensions: int, *, large: int = LARGE) -> None:
        self.dimensions, self.large = dimensions, large
        self._index: Exhaustive | Graph = Exhaustive(dimensions)

    def add(self, id: int, vector: Any) -> None:
        """Keep one."""
        self._index.add(id, vector)
        if len(self._index) > self.large and isinstance(self._index, Exhaustive):
            self._grow(self._index)

    def _grow(self, small: Exhaustive) -> None:
        try:
            graph = Graph(self.dimensions)
        except ImportError:
            self.large *= 2  # ask again then: whoever installs it in between is not served worse
            return
        for id, vector in small.vectors():
            graph.add(id, vector.copy())
        self._index = graph

    def remove(self, id: int) -> None:
        """Drop one."""
        self._index.remove(id)

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first."""
        return self._index.nearest(vector, count)

    def __len__(self) -> int:
        return len(self._index)
