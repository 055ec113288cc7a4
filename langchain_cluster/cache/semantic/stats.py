"""What a semantic cache has done so far, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

COUNTED = ("hits", "exact", "misses", "stores", "evictions", "expired", "audits", "refuted")


@dataclass(frozen=True, slots=True)
class SemanticStats:
    """Counts since the cache was made.

    Attributes:
        hits: of which `exact` were the same text but for how it is written.
        audits: hits that were asked again; of which `refuted` had another answer.
        labels: what the learned policy has learned from. guarded: objections by the guard's name.
        told: records others were told; lost: those that could not be. heard: records of all that were
            read; refused: those that could not be.
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
    told: int = 0
    lost: int = 0
    heard: int = 0
    refused: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0-1; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
