"""Which alerts stand, and who is told when one begins, grows louder and ends. It is told the time.

Per rule and subject there is one notice when it fires, one when it grows louder, and one when it is over.
What comes and goes within `for_seconds` is never told; what goes and comes back within `resolve_after`
goes on. What was done about it is taken back first, and only if it stays well after that is it over:
with an endpoint out of traffic nobody can tell whether it is well. If it is not, the same is done again,
for twice as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_cluster.model.alert import Alert
from langchain_cluster.telemetry.alerts.reactions import Reaction, Taken
from langchain_cluster.telemetry.alerts.rule import RESOLVE_AFTER

MOST_HELD = 16.0  # times `resolve_after`: how long a reaction that was taken in vain is kept up at most

Found = tuple[Any, Alert]
"""A rule, and what it says is wrong."""


@dataclass(slots=True, eq=False)
class Standing:
    """One alert that was told and is not over."""

    alert: Alert
    told: float  # when somebody was told last
    resolve_after: float
    well_since: float | None = None
    tries: int = 0  # how often it was well only as long as something was done about it
    taken: dict[Reaction, Taken] = field(default_factory=dict)
    wanted: tuple[Reaction, ...] = ()
    refused: set[tuple[Reaction, str]] = field(default_factory=set)
    on_trial: bool = False  # what was done is undone: does it stay well?


class Ledger:
    """All that stand, by rule and subject."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str], Standing] = {}

    def update(self, found: Iterable[Found], now: float) -> list[Alert]:
        """Take in what is wrong now; the notices to send."""
        notices: list[Alert] = []
        by_key: dict[tuple[str, str], list[Found]] = {}
        for rule, alert in found:
            by_key.setdefault((alert.rule, alert.subject), []).append((rule, alert))
        for key, together in by_key.items():
            ripe = [
                (rule, alert)
                for rule, alert in together
                if now - alert.since >= getattr(rule, "for_seconds", 0.0)
            ]
            standing = self.standing.get(key)
            if standing is None and not ripe:
                continue
            if standing is None:
                standing = self.standing[key] = _begun(ripe, now)
                notices.append(standing.alert)
            elif ripe:
                notices += _grown(standing, ripe, now)
            self._goes_on(standing, ripe)
        for key, standing in self.standing.items():
            if key not in by_key and standing.well_since is None:
                standing.well_since = now
        return notices

    def _goes_on(self, standing: Standing, ripe: list[Found]) -> None:
        standing.well_since = None
        if standing.on_trial:
            standing.on_trial = False
            standing.tries += 1
        if ripe:
            level = standing.alert.level.rank
            standing.wanted = tuple(
                reaction
                for rule, _ in ripe
                for reaction in getattr(rule, "react", ())
                if reaction.level is None or reaction.level.rank <= level
            )

    def to_undo(self, now: float) -> list[Standing]:
        """Those that were well for long enough to take back what was done about them."""
        return [
            standing
            for standing in self.standing.values()
            if standing.taken and _well(standing, now, min(2.0**standing.tries, MOST_HELD))
        ]

    def tried(self, standing: Standing, now: float) -> None:
        """What was done about it is taken back: from now on it must stay well by itself."""
        standing.taken.clear()
        standing.on_trial, standing.well_since = True, now

    def over(self, now: float) -> list[Alert]:
        """The notices of those that are over; they stand no more."""
        ended = [
            (key, standing)
            for key, standing in self.standing.items()
            if not standing.taken and _well(standing, now, 1.0)
        ]
        for key, _ in ended:
            del self.standing[key]
        return [replace(standing.alert, state="resolved", at=now) for _, standing in ended]


def _well(standing: Standing, now: float, times: float) -> bool:
    return standing.well_since is not None and now - standing.well_since >= times * standing.resolve_after


def _loudest(ripe: list[Found], now: float) -> Alert:
    alert = max((alert for _, alert in ripe), key=lambda alert: alert.level.rank)
    return replace(alert, since=min(alert.since for _, alert in ripe), at=now)


def _begun(ripe: list[Found], now: float) -> Standing:
    return Standing(
        _loudest(ripe, now), now, max(getattr(rule, "resolve_after", RESOLVE_AFTER) for rule, _ in ripe)
    )


def _grown(standing: Standing, ripe: list[Found], now: float) -> list[Alert]:
    """A notice if it is louder than before, or was last told of long ago."""
    alert, before = _loudest(ripe, now), standing.alert
    repeats = [repeat for rule, _ in ripe if (repeat := getattr(rule, "repeat", None)) is not None]
    louder = alert.level.rank > before.level.rank
    standing.alert = replace(
        alert, since=min(alert.since, before.since), level=alert.level if louder else before.level
    )
    if louder or (repeats and now - standing.told >= min(repeats)):
        standing.told = now
        return [standing.alert]
    return []
