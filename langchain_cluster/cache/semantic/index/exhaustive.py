"""Compares with every vector: exact, and the quickest up to some thousand entries."""

from __future__ import annotations

from typing import Any

from langchain_cluster.extras import need


class Exhaustive:
    """A matrix that grows; what is removed leaves a place for the next.

    Args:
        dimensions: of its vectors.
    """

    def __init__(self, dimensions: int) -> None:
        self._numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
        self.dimensions = dimensions
        self._matrix = self._numpy.zeros((4, dimensions), self._numpy.float32)
        self._ids: list[int] = []  # by row
        self._rows: dict[int, int] = {}

    def add(self, id: int, vector: Any) -> None:
        """Keep one."""
        self.remove(id)
        row = len(self._ids)
        if row == len(self._matrix):
            grown = self._numpy.zeros((2 * row, self.dimensions), self._numpy.float32)
            grown[:row] = self._matrix
            self._matrix = grown
        self._matrix[row] = vector
        self._ids.append(id)
        self._rows[id] = row

    def remove(self, id: int) -> None:
        """Drop one; the last takes its place."""
        row = self._rows.pop(id, None)
        if row is None:
            return
        last = self._ids.pop()
        if last != id:
            self._matrix[row] = self._matrix[len(self._ids)]
            self._ids[row], self._rows[last] = last, row

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first."""
        size = len(self._ids)
        if not size:
            return []
        scores = self._matrix[:size] @ vector
        rows = range(size)
        if size > count:
            rows = self._numpy.argpartition(scores, size - count)[size - count :]
        return sorted(((float(scores[row]), self._ids[row]) for row in rows), reverse=True)

    def vectors(self) -> list[tuple[int, Any]]:
        """Every id with its vector, to build another index from."""
        return [(id, self._matrix[row]) for row, id in enumerate(self._ids)]

    def __len__(self) -> int:
        return len(self._ids)
