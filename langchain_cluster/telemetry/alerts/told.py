"""Rules that go by events alone: retries used up, the cache or a discovery away, money spent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_cluster.model.alert import Alert
from langchain_cluster.model.events import (
    CacheFailed,
    CacheRecovered,
    CallEnded,
    DiscoveryFailed,
    DiscoveryRecovered,
    Event,
    RetryBudgetEmpty,
)
from langchain_cluster.telemetry.alerts.rule import Rule, seconds


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


class BudgetSpent(_Lately):
    """Calls are refused because a money or token budget is spent: they end with `BudgetExceeded`.

    Args:
        quiet: seconds without a refused call after which it is over.
        **settings: see `Rule`.
    """

    kind = "budget_spent"
    subject, text = "budget", "a budget is spent: calls are refused"

    def __init__(self, *, quiet: float = 300.0, **settings: Any) -> None:
        super().__init__(quiet=quiet, **settings)

    def feed(self, event: Event) -> None:
        """Hear that a call was refused for it."""
        if type(event) is CallEnded and event.error == "BudgetExceeded":
            self.note(event.at)


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
