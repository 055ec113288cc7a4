"""What a semantic cache has done so far, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SemanticStats:
    """Counts since the cache was made.

    Attributes:
        hits: of which `exact` were the same text but for how it is written.
        audits: hits that were asked again; of which `refuted` had another answer.
        labels: what the learned policy has learned from. guarded: objections by the guard's name.
    """

    hits: int
    exact: int
    misses: int
    stores: int
    evictions: int
    expired: int
    audits: int
    refuted: int
    entries: int
    scopes: int
    labels: int
    guarded: dict[str, int]

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0-1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
