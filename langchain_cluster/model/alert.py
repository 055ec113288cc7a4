"""What somebody should know about: an alert and how loud it is. Never what was said, and no secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from langchain_cluster.errors import ConfigError


class Level(StrEnum):
    """INFO is good to know, WARNING wants somebody soon, CRITICAL wants somebody now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1 or 2."""
        return _RANKS[self]


_RANKS = {Level.INFO: 0, Level.WARNING: 1, Level.CRITICAL: 2}


def level_of(given: Level | str, key: str = "level") -> Level:
    """The level of that name. Raises ConfigError when there is none."""
    try:
        return Level(given)
    except ValueError:
        valid = [level.value for level in Level]
        raise ConfigError(f"unknown level {given!r}", key=key, valid=valid, got=str(given)) from None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something is wrong with `subject`, or no longer.

    Args:
        rule: name of the rule that says so; with the subject it tells alerts apart.
        subject: what it is about: an endpoint's id, "pool", "tier fast", "cache" ...
        text: one sentence for people.
        since, at: when it began, and when this was said; seconds on the cluster's monotonic clock.
        endpoint, tier: the same subject for reactions, where it is one.
    """

    rule: str
    level: Level
    subject: str
    text: str
    since: float
    at: float
    state: Literal["firing", "resolved"] = "firing"
    endpoint: str | None = None
    tier: str | None = None

    def __str__(self) -> str:
        if self.state == "resolved":
            return f"resolved after {self.at - self.since:.0f} s: {self.rule} of {self.subject}"
        return f"{self.level.value}: {self.text}"
