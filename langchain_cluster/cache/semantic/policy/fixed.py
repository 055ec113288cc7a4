"""Serves whatever is as near as a number says."""

from __future__ import annotations

from langchain_cluster.cache.semantic.entry import Candidate


class Fixed:
    """A threshold for the cosine of two questions.

    Args:
        threshold: 0-1, above 0.
    """

    learns = False

    def __init__(self, threshold: float) -> None:
        self.floor = threshold

    def serves(self, candidate: Candidate) -> bool:
        """Whether it is near enough."""
        return candidate.score >= self.floor

    def share_of_checks(self, candidate: Candidate) -> float:
        """All alike."""
        return 1.0

    def learn(self, candidate: Candidate, right: bool, weight: float = 1.0) -> None:
        """A number that is given does not change."""

    def forget(self, id: int) -> None:
        """It knows no entries."""

    def __repr__(self) -> str:
        return f"<Fixed threshold {self.floor:g}>"
