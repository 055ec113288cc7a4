"""Since when something is out of order. Told of what fails and what works, it says when an outage is over."""

from __future__ import annotations


class Outage:
    """One thing that may be away, such as a cache. Two threads at one instant may both be told it is over."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: float | None = None  # when it first failed; None while it works

    def began(self, now: float) -> bool:
        """It failed; whether it worked before."""
        first = self.since is None
        if first:
            self.since = now
        return first

    def ended(self, now: float) -> float | None:
        """It works; after how many seconds, if it had failed."""
        since, self.since = self.since, None
        return None if since is None else max(0.0, now - since)

    def __repr__(self) -> str:
        return "<Outage, none>" if self.since is None else f"<Outage since {self.since:.1f} s>"
