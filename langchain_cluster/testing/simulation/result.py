"""What a simulation found: every attempt, and the shares, quantiles and series read from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil, inf, nan
from typing import Any, NamedTuple

from langchain_cluster.model.call import Verdict
from langchain_cluster.testing.simulation import traffic


class Tried(NamedTuple):
    """One attempt: when it began and how long it took (virtual seconds), where, how it ended, and
    whether it was a further try of a call."""

    at: float
    seconds: float
    endpoint: str
    verdict: Verdict
    again: bool


@dataclass(slots=True)
class Simulation:
    """What happened. Times are virtual seconds.

    Attributes:
        served, failed, throttled, retried: attempts by endpoint id: answered; failed, or cut off at
            their time; refused with a 429; and those without an answer that were followed by another try.
        latencies: seconds of each call that was answered, further tries and waits included.
        refused: calls that were never tried, because nobody could be asked.
        lost: calls that were tried and not answered.
        hit_ratio: part of the attempts whose session the endpoint remembered; NaN where
            nothing is remembered.
        seconds: how long it all took. events: what the pool said.
        attempts: every attempt, in the order they ended.
    """

    served: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)
    retried: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    lost: int = 0
    latencies: list[float] = field(default_factory=list)
    hit_ratio: float = nan
    seconds: float = 0.0
    events: list[Any] = field(default_factory=list)
    attempts: list[Tried] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Attempts that an endpoint saw."""
        return len(self.attempts)

    def share(self, endpoint: str, start: float = 0.0, end: float = inf) -> float:
        """The part of the attempts begun from `start` to `end` that went to `endpoint`, 0-1."""
        seen = [tried.endpoint == endpoint for tried in self.attempts if start <= tried.at < end]
        return sum(seen) / len(seen) if seen else 0.0

    def quantile(self, q: float, endpoint: str | None = None) -> float:
        """The latency that a part `q` (0-1) of the answered calls did not exceed; NaN without any.

        With an `endpoint`: of the attempts it answered. Raises ConfigError: `q` is not from 0 to 1.
        """
        traffic.number(q, "q", most=1.0)
        if endpoint is None:
            times = sorted(self.latencies)
        else:
            times = sorted(
                tried.seconds
                for tried in self.attempts
                if tried.endpoint == endpoint and tried.verdict is Verdict.OK
            )
        return times[min(len(times) - 1, int(q * len(times)))] if times else nan

    def series(self, endpoints: Collection[str], step: float = 1.0) -> list[tuple[float, float]]:
        """(middle of a stretch of `step` seconds, share of the attempts begun in it that went to them)."""
        seen: Counter[int] = Counter()
        theirs: Counter[int] = Counter()
        for tried in self.attempts:
            stretch = int(tried.at / step)
            seen[stretch] += 1
            theirs[stretch] += tried.endpoint in endpoints
        return [
            ((n + 0.5) * step, theirs[n] / seen[n] if seen[n] else 0.0)
            for n in range(ceil(self.seconds / step))
            if seen[n]
        ]

    def note(self, tried: Tried) -> None:
        """Take an attempt into account."""
        self.attempts.append(tried)
        counts = {Verdict.OK: self.served, Verdict.THROTTLED: self.throttled}.get(tried.verdict, self.failed)
        counts[tried.endpoint] = counts.get(tried.endpoint, 0) + 1

    def __repr__(self) -> str:
        return (
            f"<Simulation {len(self.latencies)} answered, {self.lost} lost, {self.refused} refused"
            f" in {self.seconds:.1f} s>"
        )
