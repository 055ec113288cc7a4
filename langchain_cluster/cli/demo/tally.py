"""What the demo counts for itself: every question asked, every answer, every event of the cluster."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import monotonic

from langchain_core.messages import AIMessage

from langchain_cluster.model.events import AttemptEnded, BreakerChanged, Event

LATELY = 5.0  # seconds over which tokens/s are counted
REMEMBERED = 50  # answers of an endpoint that its p50 is taken from


@dataclass(frozen=True, slots=True)
class Told:
    """A question and its answer. `whole`: it was not cut at the token limit, so the cache keeps it."""

    question: str
    text: str
    endpoint: str
    attempts: int
    seconds: float
    whole: bool

    @property
    def subject(self) -> str:
        """The question without the wish how to answer it."""
        return self.question.partition("?")[0] + "?"


class Tally:
    """Counts of one run. Used by one event loop."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self.asked = 0
        self.told: list[Told] = []
        self.errors: list[str] = []
        self.tokens = 0
        self.failed_attempts: list[AttemptEnded] = []
        self.circuits: list[BreakerChanged] = []
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._recent: dict[str, deque[tuple[float, int]]] = defaultdict(deque)

    @property
    def in_flight(self) -> int:
        """Questions without an answer yet."""
        return self.asked - len(self.told) - len(self.errors)

    def answered(self, question: str, message: AIMessage) -> Told:
        """Count an answer."""
        cluster = message.response_metadata["cluster"]
        told = Told(
            question,
            " ".join(message.text.split()),
            cluster["endpoint"] or cluster["cache"],
            cluster["attempts"],
            cluster["seconds"],
            message.response_metadata.get("finish_reason") == "stop",
        )
        self.told.append(told)
        tokens = message.usage_metadata["output_tokens"] if message.usage_metadata else 0
        self.tokens += tokens
        self._seconds[told.endpoint].append(told.seconds)
        self._recent[told.endpoint].append((self._now(), tokens))
        return told

    def failed(self, question: str, error: Exception) -> None:
        """Count a call that failed: the one thing that must not happen."""
        notes = "; ".join(getattr(error, "__notes__", ()))
        self.errors.append(f"{question} -> {type(error).__name__}: {error} ({notes})")

    def hear(self, event: Event) -> None:
        """Keep the events that the story is about."""
        match event:
            case BreakerChanged():
                self.circuits.append(event)
            case AttemptEnded():
                self.failed_attempts.append(event)
            case _:
                pass

    def turned(self, endpoint: str, state: str, since: float) -> BreakerChanged | None:
        """The first time an endpoint's circuit went to `state` after `since`."""
        return next(
            (e for e in self.circuits if e.endpoint == endpoint and e.state == state and e.at >= since), None
        )

    def p50(self, endpoint: str) -> float | None:
        """Median seconds of an endpoint's last calls, from question to answer."""
        seconds = self._seconds.get(endpoint)
        return median(seconds) if seconds else None

    def tokens_per_second(self, endpoint: str) -> float:
        """Tokens of the answers an endpoint gave in the last seconds."""
        recent, now = self._recent[endpoint], self._now()
        while recent and recent[0][0] < now - LATELY:
            recent.popleft()
        return sum(tokens for _, tokens in recent) / LATELY
