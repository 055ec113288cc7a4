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
        # Matrix times vector is shared out among threads that wait for one another in a loop: where other
        # work goes on, 4,000 rows took 12 ms instead of 0.07. This keeps to one thread, and takes 0.12.
        self._dots: Any = getattr(self._numpy, "vecdot", self._numpy.matmul)  # numpy 2.0
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
        scores = self._dots(self._matrix[:size], vector)
        rows = range(size)
        if size > count:
            rows = self._numpy.argpartition(scores, size - count)[size - count :]
        return sorted(((float(scores[row]), self._ids[row]) for row in rows), reverse=True)

    def take(self, count: int) -> list[tuple[int, Any]]:
        """At most `count` ids with their vectors, which are dropped here: to move into another index."""
        taken = [(id, self._matrix[self._rows[id]].copy()) for id in self._ids[: -count - 1 : -1]]
        for id, _ in taken:
            self.remove(id)
        return taken

    def __len__(self) -> int:
        return len(self._ids)
