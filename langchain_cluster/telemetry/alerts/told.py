"""Rules that go by events alone: retries used up, the cache or a discovery away, money spent."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from langchain_cluster.model.alert import Alert
from langchain_cluster.model.events import (
    BudgetUsed,
    CacheFailed,
    CacheRecovered,
    CallEnded,
    DiscoveryFailed,
    DiscoveryRecovered,
    Event,
    RetryBudgetEmpty,
)
from langchain_cluster.telemetry.alerts.rule import Rule, seconds, share
from langchain_cluster.telemetry.scrub import payer


class _Lately(Rule):
    """Something happened, and has not for less than `quiet` seconds."""

    subject, text = "", ""

    def __init__(self, *, quiet: float = 30.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.quiet = seconds(quiet, "quiet")
        self._since: float | None = None
        self._last = 0.0

    def note(self, at: float) -> None:
        """It happened."""
        self._since = at if self._since is None else self._since
        self._last = at

    def check(self, now: float, pool: Iterable[Any]) -> list[Alert]:
        """One alert while it is not long ago."""
        if self._since is None:
            return []
        if now - self._last > self.quiet:
            self._since = None
            return []
        return [self.alert(self.subject, self.text, self._since, now)]


class RetryBudgetSpent(_Lately):
    """Calls fail that would be tried again, if not so many were already.

    Args:
        quiet: seconds without a refused retry after which it is over.
        **settings: see `Rule`.
    """

    kind = "retry_budget_spent"
    subject, text = "retries", "the retry budget is spent: failed calls are not tried again"

    def feed(self, event: Event) -> None:
        """Hear that a further attempt was refused."""
        if type(event) is RetryBudgetEmpty:
            self.note(event.at)


class BudgetSpent(Rule):
    """A budget is spent, until it begins anew; or calls are refused for one that is not ours.

    Args:
        part: from which part of a budget on somebody is told, above 0 and at most 1.
        quiet: seconds without a refused call after which it is over, where nobody told whose budget it is.
        **settings: see `Rule`.
    """

    kind = "budget_spent"

    def __init__(self, *, part: float = 1.0, quiet: float = 300.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.part = share(part, "part")
        self._refused = _Refused(quiet=quiet, level=self.level, name=self.name)
        self._spent: dict[str, tuple[float, float, str]] = {}  # subject -> since, until, and what is so

    def feed(self, event: Event) -> None:
        """Hear that a part of a budget is spent, or that a call was refused."""
        if type(event) is BudgetUsed and event.part >= self.part:
            subject, until = _whose(event), inf if event.resets_in is None else event.at + event.resets_in
            since = self._spent[subject][0] if subject in self._spent else event.at
            much = "is spent" if event.part >= 1.0 else f"is spent to {event.part:.0%}"
            text = f"the budget of {subject} {much}: {event.spent:.2f} of {event.limit:g} USD"
            self._spent[subject] = (since, until, text)
        elif not self._spent:
            self._refused.feed(event)

    def check(self, now: float, pool: Iterable[Any]) -> list[Alert]:
        """One alert per budget that is spent."""
        self._spent = {subject: known for subject, known in self._spent.items() if now < known[1]}
        if not self._spent:
            return self._refused.check(now, pool)
        return [self.alert(subject, text, since, now) for subject, (since, _, text) in self._spent.items()]


class _Refused(_Lately):
    subject, text = "budget", "a budget is spent: calls are refused"

    def feed(self, event: Event) -> None:
        if type(event) is CallEnded and event.error == "BudgetExceeded":
            self.note(event.at)


def _whose(event: BudgetUsed) -> str:
    who = payer(event)
    return event.scope if who is None else f"{event.scope} {who}"


class CacheDown(Rule):
    """The cache cannot be read or written; calls go on without it.

    Args:
        failures: how often it must have failed since it last worked, >= 1.
        **settings: see `Rule`.
    """

    kind = "cache_down"

    def __init__(self, *, failures: int = 3, for_seconds: float = 10.0, **settings: Any) -> None:
        super().__init__(for_seconds=for_seconds, **settings)
        self.failures = failures
        self._since, self._count = 0.0, 0

    def feed(self, event: Event) -> None:
        """Count failures in a row."""
        if type(event) is CacheFailed:
            if not self._count:
                self._since = event.at
            self._count += 1
        elif type(event) is CacheRecovered:
            self._count = 0

    def check(self, now: float, pool: Iterable[Any]) -> list[Alert]:
        """One alert while it is away."""
        if self._count < self.failures:
            return []
        return [self.alert("cache", "the cache cannot be asked: calls go on without it", self._since, now)]


class DiscoveryStale(Rule):
    """A discovery source cannot be read: who joins or leaves there is not heard of.

    Args:
        **settings: see `Rule`.
    """

    kind = "discovery_stale"

    def __init__(self, *, for_seconds: float = 60.0, **settings: Any) -> None:
        super().__init__(for_seconds=for_seconds, **settings)
        self._since: dict[str, float] = {}

    def feed(self, event: Event) -> None:
        """Note which sources are away."""
        if type(event) is DiscoveryFailed:
            self._since.setdefault(event.source, event.at)
        elif type(event) is DiscoveryRecovered:
            self._since.pop(event.source, None)

    def check(self, now: float, pool: Iterable[Any]) -> list[Alert]:
        """One alert per source that is away."""
        return [
            self.alert(source, f"{source} cannot be read: the last roster stays", since, now)
            for source, since in self._since.items()
        ]
