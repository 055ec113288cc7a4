"""What the shipped rules have in common: a level, how long to wait, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.alert import Alert, Level, level_of
from langchain_cluster.model.events import Event
from langchain_cluster.telemetry.alerts.reactions import Reaction, reactions

RESOLVE_AFTER = 30.0  # seconds


class Rule:
    """The settings of a rule. What is wrong is for its own kind to say.

    Args:
        level: how loud, "info", "warning" or "critical".
        for_seconds: how long something is wrong before anybody is told, >= 0: what passes by itself is
            nobody's business.
        resolve_after: how long it must be well before that is told, >= 0.
        repeat: seconds after which somebody is told again while it lasts; None for never.
        react: what to do about it: a name, a `Reaction`, a mapping, or several of them.
        name: in alerts; rules with one name count as one, and the loudest of them is heard.

    Raises:
        ConfigError: one of them is something else.
    """

    kind = "rule"

    def __init__(
        self,
        *,
        level: Level | str = Level.WARNING,
        for_seconds: float = 0.0,
        resolve_after: float = RESOLVE_AFTER,
        repeat: float | None = None,
        react: Reaction | str | Sequence[Any] = (),
        name: str | None = None,
    ) -> None:
        self.level = level_of(level)
        self.for_seconds = seconds(for_seconds, "for_seconds")
        self.resolve_after = seconds(resolve_after, "resolve_after")
        self.repeat = None if repeat is None else seconds(repeat, "repeat", above=True)
        self.react = reactions(react)
        self.name = name or self.kind

    def feed(self, event: Event) -> None:
        """Most rules look at the pool alone."""

    def alert(self, subject: str, text: str, since: float, now: float, **more: Any) -> Alert:
        """Something is wrong, at this rule's level unless `more` says otherwise."""
        return Alert(self.name, more.pop("level", self.level), subject, text, since, now, **more)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.level.value} after {self.for_seconds:g} s>"


def seconds(given: Any, key: str, *, above: bool = False) -> float:
    """A length of time, >= 0; > 0 if `above`. Raises ConfigError for anything else."""
    number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not number or given < 0 or (above and given == 0):
        raise ConfigError(f"{given!r} is not a number of seconds {'>' if above else '>='} 0", key=key)
    return float(given)


def share(given: Any, key: str) -> float:
    """A part of a whole, above 0 and at most 1. Raises ConfigError for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0.0 < given <= 1.0:
        raise ConfigError(f"{given!r} is not above 0 and at most 1", key=key)
    return float(given)
