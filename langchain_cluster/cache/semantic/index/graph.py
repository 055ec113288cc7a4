"""A navigable graph (HNSW, by usearch): not exact, and quick however many entries there are.

After Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs (2016). The few candidates it finds are scored again with the whole vectors.
"""

from __future__ import annotations

from typing import Any

from langchain_cluster.extras import need

_MORE = 2  # candidates asked of the graph for each one wanted: it keeps 8 bits of a number


class Graph:
    """Vectors in 8 bits in a graph, and whole beside it.

    Args:
        dimensions: of its vectors.

    Raises:
        ImportError: usearch is not installed.
    """

    def __init__(self, dimensions: int) -> None:
        kind = need("usearch.index", extra="semantic", for_="SemanticCache with many entries").Index
        self.dimensions = dimensions
        self._index: Any = kind(ndim=dimensions, metric="cos", dtype="i8")
        self._vectors: dict[int, Any] = {}

    def add(self, id: int, vector: Any) -> None:
        """Keep one."""
        self.remove(id)
        self._index.add(id, vector)
        self._vectors[id] = vector

    def remove(self, id: int) -> None:
        """Drop one."""
        if self._vectors.pop(id, None) is not None:
            self._index.remove(id)

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first."""
        if not self._vectors:
            return []
        keys = [int(key) for key in self._index.search(vector, count * _MORE).keys]
        scored = [(float(self._vectors[key] @ vector), key) for key in keys if key in self._vectors]
        return sorted(scored, reverse=True)[:count]

    def __len__(self) -> int:
        return len(self._vectors)
