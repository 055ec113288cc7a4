"""Every call by its number, and the one way it ended. A second ending, or none, is what chaos looks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

from langchain_cluster import (
    ClusterExhausted,
    DeadlineExceeded,
    NoEndpointAvailable,
    Overloaded,
    StreamInterrupted,
)

ANSWERED, REFUSED, FAILED, LEFT = "answered", "refused", "failed", "left"


@dataclass
class Ledger:
    """What was sent and what became of it; told by any thread.

    wrong: what must never happen, in words. errors: kinds of the failures. ways: how it was asked. by: who
    answered. longest: seconds of the longest call.
    """

    sent: int = 0
    ended: dict[int, str] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    by: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def send(self, way: str) -> int:
        """A call begins; its number."""
        with self._lock:
            self.sent += 1
            self.ways[way] += 1
            return self.sent

    def end(self, number: int, how: str, seconds: float, error: BaseException | None = None) -> None:
        """It has ended."""
        with self._lock:
            if number in self.ended:
                self.wrong.append(f"call {number} ended twice: {self.ended[number]}, then {how}")
            self.ended[number] = how
            self.longest = max(self.longest, seconds)
            if error is not None:
                self.errors[type(error).__name__] += 1

    def complain(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)

    def count(self, how: str) -> int:
        with self._lock:
            return sum(ending == how for ending in self.ended.values())

    @property
    def lost(self) -> int:
        """Sent and not ended."""
        with self._lock:
            return self.sent - len(self.ended)


def kind_of(error: BaseException) -> str:
    """Refused before anybody was asked, or failed."""
    return REFUSED if isinstance(error, NoEndpointAvailable | Overloaded) else FAILED


def is_clear(error: BaseException) -> bool:
    """Whether an error is one that a caller is promised: of the cluster, or the provider's own."""
    promised = (ClusterExhausted, DeadlineExceeded, NoEndpointAvailable, Overloaded, StreamInterrupted)
    if isinstance(error, promised):
        return True
    # The provider's own, with a note for each attempt.
    return any(note.startswith("attempt 1 on ") for note in getattr(error, "__notes__", ()))
