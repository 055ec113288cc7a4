"""What a policy has to answer, and what it is told."""

from __future__ import annotations

from typing import Protocol

from langchain_cluster.cache.semantic.entry import Candidate


class ServePolicy(Protocol):
    """Decides; the cache locks around it.

    Attributes:
        floor: cosine below which nothing is a candidate.
        learns: whether it wants to know which candidates were right.
    """

    floor: float
    learns: bool

    def serves(self, candidate: Candidate) -> bool:
        """Whether its answer may be given."""

    def share_of_checks(self, candidate: Candidate) -> float:
        """How often this one is to be checked, of the hits it serves: 1 for as often as the others."""

    def learn(self, candidate: Candidate, right: bool, weight: float = 1.0) -> None:
        """Its answer would have been right, or wrong; `weight` others are told by this one."""

    def forget(self, id: int) -> None:
        """An entry is gone."""
