"""How fast the error budget burns, over a long and a short window at once.

An objective of 99.5 % allows 5 calls in 1,000 to fail. A burn rate of 1 uses that up exactly in the
objective's own period; 14.4 uses a month's up in two days. The long window says that it matters, the
short one that it still goes on: so the alert ends soon after the errors do. Google's SRE Workbook,
chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.events import AttemptEnded, CallEnded, Event
from langchain_cluster.telemetry.alerts.rule import Rule, seconds, share

WINDOWS = ((3600.0, 300.0, 14.4), (21600.0, 1800.0, 6.0))
FEWEST = 20  # calls in the long window: one failure of two is no burning budget
_PARTS = 30  # a short window is kept in so many parts
# A caller that left, asked for nonsense or spent its money: no error of the service.
_OURS_NOT = frozenset({"abandoned", "BudgetExceeded", "ConfigError"})
_CALLERS = (Verdict.CALLER, Verdict.OVERFLOW)


class ErrorBudgetBurn(Rule):
    """So many calls fail that the error budget will be spent long before its time.

    Args:
        objective: the part of calls that shall succeed, above 0 and below 1.
        windows: (long, short, rate) each: seconds, seconds, and how many times too fast errors come in
            both. The first is critical, the others have the rule's own level.
        fewest: calls there must be in the long window.
        **settings: see `Rule`.
    """

    kind = "error_budget_burn"

    def __init__(
        self,
        *,
        objective: float = 0.995,
        windows: Sequence[Sequence[float]] = WINDOWS,
        fewest: int = FEWEST,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.objective = share(objective, "objective")
        if self.objective == 1.0:
            raise ConfigError("an objective of 1 leaves no error budget to burn", key="objective")
        if not windows or any(len(window) != 3 for window in windows):
            raise ConfigError("each window is (long, short, rate)", key="windows")
        self.fewest = fewest
        self.windows = [
            (seconds(long, "windows", above=True), seconds(short, "windows", above=True), float(rate))
            for long, short, rate in windows
        ]
        self._calls = _Totals(
            max(long for long, _, _ in self.windows), min(short for _, short, _ in self.windows) / _PARTS
        )
        self._excused: dict[str, int] = {}
        self._since: float | None = None

    def feed(self, event: Event) -> None:
        """Count the ends of calls."""
        if type(event) is AttemptEnded and event.report.verdict in _CALLERS:
            # Its call ends with the same error in a moment, unless a larger window takes it.
            kind = type(event.report.error).__name__
            self._excused[kind] = self._excused.get(kind, 0) + 1
        elif type(event) is CallEnded:
            error = event.error
            if error is not None and self._excused.get(error, 0):
                self._excused[error] -= 1
            elif error not in _OURS_NOT:
                self._calls.add(event.at, failed=error is not None)

    def check(self, now: float, pool: Iterable[Any]) -> list[Alert]:
        """One alert at most, for the worst of the windows."""
        for number, (long, short, rate) in enumerate(self.windows):
            calls, burn = self._burn(now, long)
            if calls >= self.fewest and burn >= rate and self._burn(now, short)[1] >= rate:
                self._since = now if self._since is None else self._since
                level = Level.CRITICAL if number == 0 else self.level
                text = f"errors come {burn:.1f} times as fast as {self.objective:.2%} of good calls allow"
                return [self.alert("calls", text, self._since, now, level=level)]
        self._since = None
        return []

    def _burn(self, now: float, window: float) -> tuple[int, float]:
        calls, failed = self._calls.within(now - window)
        return calls, failed / calls / (1.0 - self.objective) if calls else 0.0


class _Totals:
    """Running totals at the begin of each part of time: a window's count is a difference of two."""

    def __init__(self, keep: float, width: float) -> None:
        self._keep, self._width = keep, width
        self._parts: list[float] = []  # when each begins
        self._before: list[tuple[int, int]] = []  # (calls, failed) until then
        self._calls = self._failed = 0

    def add(self, at: float, *, failed: bool) -> None:
        """A call has ended."""
        begin = at // self._width * self._width
        if not self._parts or begin > self._parts[-1]:
            self._parts.append(begin)
            self._before.append((self._calls, self._failed))
            if len(self._parts) > 2 * self._keep / self._width:  # now and then, not each time
                old = bisect_left(self._parts, at - self._keep)
                del self._parts[:old], self._before[:old]
        self._calls += 1
        self._failed += failed

    def within(self, since: float) -> tuple[int, int]:
        """(calls, failed) in the parts that begin at `since` or later."""
        place = bisect_left(self._parts, since)
        if place == len(self._parts):
            return 0, 0
        calls, failed = self._before[place]
        return self._calls - calls, self._failed - failed
