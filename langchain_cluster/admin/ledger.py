"""What a cluster does not keep itself and people want to see: traffic, tokens and cost per endpoint.

Listens to events; everything is bounded, and what an endpoint leaves behind goes with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from langchain_cluster.admin.shapes import CALLS, event_shape
from langchain_cluster.model.events import AttemptEnded, BreakerChanged, CallEnded, EndpointLeft, Event

WINDOW = 60.0  # seconds that shares of traffic are of
CHANGES, RECENT = 50, 100  # kept: of each breaker, and of all that happened


@dataclass(slots=True)
class Line:
    """What was counted of one endpoint since the app was made; `seconds` holds (second, attempts)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    seconds: deque[list[int]] = field(default_factory=deque)
    timeline: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CHANGES))


class Ledger:
    """Counts what events tell.

    Args:
        now: the cluster's clock, monotonic seconds. wall: seconds since 1970, for people.
    """

    def __init__(self, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._now, self._wall = now, wall
        self._lock = Lock()
        self._lines: dict[str, Line] = {}
        self._total = Line()
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)

    def hear(self, event: Event) -> None:
        """Take an event in."""
        with self._lock:
            match event:
                case CallEnded(answer=answer) if answer is not None and answer.endpoint is not None:
                    line = self._attempt(answer.endpoint)
                    for counted in (line, self._total):
                        if answer.usage is not None:
                            counted.input_tokens += answer.usage.input_tokens
                            counted.output_tokens += answer.usage.output_tokens
                        counted.cost_usd += answer.cost or 0.0
                case AttemptEnded(report=report):
                    self._attempt(report.endpoint)
                case BreakerChanged():
                    shape = event_shape(event, self._when(event))
                    self._line(event.endpoint).timeline.append(
                        {name: shape[name] for name in ("at", "state", "before", "reason")}
                    )
                case EndpointLeft(endpoint=endpoint):
                    self._lines.pop(endpoint.id, None)
            if not isinstance(event, CALLS):
                self.recent.append(event_shape(event, self._when(event)))

    def shape(self, event: Event) -> dict[str, Any]:
        """An event as JSON can hold it, with the time of day."""
        return event_shape(event, self._when(event))

    def lines(self, there: Collection[str]) -> dict[str, dict[str, Any]]:
        """Share of the last minute's attempts (0-1), tokens, cost and breaker, of the endpoints `there`.

        What was counted of others is forgotten: a call may end after its endpoint has left.
        """
        second = int(self._now())
        with self._lock:
            self._lines = {id: line for id, line in self._lines.items() if id in there}
            lately = {id: _lately(line, second) for id, line in self._lines.items()}
            total = sum(lately.values())
            return {
                id: {
                    "share": lately[id] / total if total else 0.0,
                    "calls_per_minute": lately[id],
                    "input_tokens": line.input_tokens,
                    "output_tokens": line.output_tokens,
                    "cost_usd": line.cost_usd,
                    "timeline": list(line.timeline),
                }
                for id, line in self._lines.items()
            }

    def totals(self) -> dict[str, Any]:
        """Tokens and cost of all, those that have left included."""
        total = self._total
        return {
            "input_tokens": total.input_tokens,
            "output_tokens": total.output_tokens,
            "cost_usd": total.cost_usd,
        }

    def _when(self, event: Event) -> float:
        return self._wall() - (self._now() - event.at)

    def _line(self, id: str) -> Line:
        return self._lines.setdefault(id, Line())

    def _attempt(self, id: str) -> Line:
        line, second = self._line(id), int(self._now())
        if line.seconds and line.seconds[-1][0] == second:
            line.seconds[-1][1] += 1
        else:
            line.seconds.append([second, 1])
            _lately(line, second)
        return line


def _lately(line: Line, second: int) -> int:
    while line.seconds and line.seconds[0][0] <= second - WINDOW:
        line.seconds.popleft()
    return sum(attempts for _, attempts in line.seconds)
