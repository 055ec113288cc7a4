"""What an index of vectors has to do. One holds the entries of one scope; the cache locks around it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class VectorIndex(Protocol):
    """Unit vectors, float32, under integer ids."""

    def add(self, id: int, vector: Any) -> None:
        """Keep one."""

    def remove(self, id: int) -> None:
        """Drop one; an unknown id is no error."""

    def nearest(self, vector: Any, count: int) -> list[tuple[float, int]]:
        """(cosine, id) of at most `count` entries, the nearest first."""

    def __len__(self) -> int: ...
