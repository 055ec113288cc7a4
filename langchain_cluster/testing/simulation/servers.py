"""What a simulated endpoint does with a call: how long it takes, and how that ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heapreplace
from math import inf
from random import Random

from langchain_cluster.model.call import Outcome, Request
from langchain_cluster.testing.simulated.latency import Fixed, Latency, draw
from langchain_cluster.testing.simulation.mishaps import Failing, Hanging, Mishap, Slowing, Throttling
from langchain_cluster.testing.simulation.traffic import Sessions

REFUSAL = 0.005  # seconds a 429 takes


class SimulatedFailure(Exception):
    """A simulated endpoint failed."""


class Servers:
    """All the endpoints of a simulation.

    Args:
        service: seconds an answer takes, by endpoint id. slots: how many answers an endpoint works on at
            once, by id; further calls wait inside it, in order. mishaps: what is wrong with whom.
        sessions: whose calls are answered sooner where they are remembered.
        rng: chance of the service times and of the mishaps.
    """

    def __init__(
        self,
        service: Mapping[str, Latency],
        slots: Mapping[str, int],
        mishaps: Iterable[Mishap],
        sessions: Sessions | None,
        rng: Random,
    ) -> None:
        self._service, self._slots, self._sessions, self._rng = service, slots, sessions, rng
        self._mishaps: dict[str, list[Mishap]] = {}
        for mishap in mishaps:
            self._mishaps.setdefault(mishap.endpoint, []).append(mishap)
        self._free: dict[str, list[float]] = {}  # when each slot is free
        self._tokens: dict[Throttling, tuple[float, float]] = {}  # how many, and when
        self._remembered: dict[str, dict[str, None]] = {}
        self._saved = 1.0 if sessions is None else 1.0 - sessions.saves
        self.hits = self.looked = 0

    def ask(self, id: str, request: Request, now: float) -> tuple[float, Outcome]:
        """Seconds until this call ends there (infinity: never), and how it ends."""
        slower = 1.0
        for mishap in self._mishaps.get(id, ()):
            if not mishap.start <= now < mishap.end:
                continue
            match mishap:
                case Slowing():
                    slower *= mishap.factor
                case Throttling():
                    if not self._token(mishap, now):
                        refused = Outcome.throttled(
                            mishap.retry_after, error=SimulatedFailure("HTTP 429"), seconds=REFUSAL
                        )
                        return REFUSAL, refused
                case Hanging() if self._rng.random() < mishap.probability:
                    return inf, Outcome.abandoned()
                case Failing() if self._rng.random() < mishap.probability:
                    failed = Outcome.failed(SimulatedFailure("it failed"), seconds=mishap.seconds)
                    return mishap.seconds, failed
                case _:
                    pass
        seconds = draw(self._service.get(id, Fixed(0.1)), self._rng) * slower
        if self._remembers(id, request.key):
            seconds *= self._saved
        seconds += self._queued(id, seconds, now)
        return seconds, Outcome.ok(seconds=seconds)

    def _token(self, mishap: Throttling, now: float) -> bool:
        most = max(1.0, mishap.rate)
        left, at = self._tokens.get(mishap, (most, now))
        left = min(most, left + (now - at) * mishap.rate)
        self._tokens[mishap] = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0

    def _remembers(self, id: str, key: str | None) -> bool:
        if self._sessions is None or key is None or self._sessions.saves == 0.0:
            return False
        known = self._remembered.setdefault(id, {})
        hit = key in known
        self.looked += 1
        self.hits += hit
        known.pop(key, None)
        known[key] = None
        if len(known) > self._sessions.remembered:
            del known[next(iter(known))]
        return hit

    def _queued(self, id: str, seconds: float, now: float) -> float:
        """Seconds the call waits for a slot; it keeps it, whether or not anybody waits for the answer."""
        if id not in self._slots:
            return 0.0
        free = self._free.get(id)
        if free is None:
            free = self._free[id] = [0.0] * self._slots[id]
            heapify(free)
        begins = max(now, free[0])
        heapreplace(free, begins + seconds)
        return begins - now
