"""What a store has counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the start; `entries` and `bytes` are of now.

    Attributes:
        errors: operations that failed; in a store of several, also those a caller did not notice.
        lost: writes that were put off and never made (`LayeredCache(write="back")`).
    """

    hits: int = 0
    misses: int = 0
    sets: int = 0
    evictions: int = 0
    expired: int = 0
    entries: int = 0
    bytes: int = 0
    errors: int = 0
    lost: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0-1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
