"""What the server saw: one entry per request, made on arrival and completed at its end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Log", "Outcome", "Seen"]

Outcome = Literal["open", "completed", "cut", "client_left", "stopped"]

_SECRET = frozenset({"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One request.

    at: seconds of the monotonic clock, on arrival. headers: names in lower case. body: parsed JSON,
    None when there was none. fault: the class name of the fault that struck. status: what was sent,
    None before the headers. outcome: "completed" when everything meant to be sent was sent (an error
    status too), "cut" when a fault ended the connection, "open" while it lasts. seconds: how long it
    took, None while it lasts.
    """

    at: float
    endpoint: str
    model: str | None
    path: str
    method: str
    headers: dict[str, str]
    body: Any
    stream: bool
    fault: str | None = None
    status: int | None = None
    outcome: Outcome = "open"
    seconds: float | None = None

    @property
    def probe(self) -> bool:
        """A health check or a model list, not a call."""
        return self.method != "POST"


class Log:
    """Thread-safe.

    keep: entries; the oldest are dropped beyond it, the counts stay right.
    """

    def __init__(self, *, keep: int, record_secrets: bool) -> None:
        self._keep = keep
        self._record_secrets = record_secrets
        self._lock = threading.Lock()
        self._entries: dict[int, Seen] = {}
        self._next = 0
        self._calls: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._peak: Counter[str] = Counter()

    def arrive(self, seen: Seen) -> int:
        """Returns the number to settle it with."""
        if not self._record_secrets:
            for name in seen.headers.keys() & _SECRET:
                seen.headers[name] = "***"
        with self._lock:
            number = self._next = self._next + 1
            self._entries[number] = seen
            if len(self._entries) > self._keep:
                del self._entries[next(iter(self._entries))]
            if not seen.probe:
                self._calls[seen.endpoint] += 1
                now = self._in_flight[seen.endpoint] = self._in_flight[seen.endpoint] + 1
                if now > self._peak[seen.endpoint]:
                    self._peak[seen.endpoint] = now
        return number

    def answer(self, number: int, status: int) -> None:
        """The status is decided, the end is not."""
        with self._lock:
            entry = self._entries.get(number)
            if entry is not None:
                self._entries[number] = replace(entry, status=status)

    def settle(self, number: int, seen: Seen, *, status: int | None, outcome: Outcome, now: float) -> None:
        with self._lock:
            if not seen.probe:
                self._in_flight[seen.endpoint] -= 1
            if number in self._entries:
                self._entries[number] = replace(seen, status=status, outcome=outcome, seconds=now - seen.at)

    def entries(self) -> list[Seen]:
        with self._lock:
            return list(self._entries.values())

    def clear(self) -> None:
        """Forget entries, counts and peaks; what is in flight stays counted as in flight."""
        with self._lock:
            self._entries.clear()
            self._calls.clear()
            self._peak = Counter(self._in_flight)

    def count(self, endpoint: str | None) -> int:
        return self._calls.total() if endpoint is None else self._calls[endpoint]

    def in_flight(self, endpoint: str | None) -> int:
        return self._in_flight.total() if endpoint is None else self._in_flight[endpoint]

    def peak_in_flight(self, endpoint: str) -> int:
        return self._peak[endpoint]
