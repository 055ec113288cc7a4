"""Who has most to spare, by what endpoints report of themselves and by what is seen from here.

score = 0.3 (1 - cpu) + 0.2 (1 - memory) + 0.3 (1 - connections) + 0.2 history, each part from 0 to 1. Of
two taken by chance the higher score is asked: were it the highest of all, everybody would ask the same
endpoint until its next report.

A report says how things were. Past its 30 s, or where it lacks a part, that part's weight goes to what
is measured here: the latency, times the calls ahead, beside what is usual among the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from math import exp, inf, isclose, isfinite
from random import Random
from typing import Any

from langchain_cluster.balancer.tables import Choose, Tabled, hands
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request

WEIGHTS: Mapping[str, float] = {"cpu": 0.3, "memory": 0.2, "connections": 0.3, "history": 0.2}
STALE = 30.0  # seconds after which a report counts for nothing
FRESHEN = 1.0  # seconds until parts that change slowly are worked out anew
DECAY = 10.0  # seconds for an old latency to lose 63 % of its weight, as in `peak_ewma`
HALF_FULL = 8  # calls in flight that half fill an endpoint of weight 1 that does not tell its limit


class Adaptive(Tabled):
    """Of two candidates the one with the higher score.

    Args:
        weights: of the parts cpu, memory, connections and history, each >= 0, together 1; a part that
            is not named has none. None: 0.3, 0.2, 0.3, 0.2.

    Raises:
        ConfigError: an unknown part, a weight that is no number >= 0, weights that do not add up to 1.
    """

    name = "adaptive"

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict.fromkeys(WEIGHTS, 0.0) | _checked(WEIGHTS if weights is None else weights)
        self._connections = self.weights["connections"]
        super().__init__()

    def _chooser(self, candidates: Sequence[Any], rng: Random) -> Choose:
        usual, better = _Usual(candidates), self._better
        facts = [_Facts(member, usual) for member in candidates]
        deal = hands(facts, 2, rng) if len(facts) > 1 else repeat((facts[0], facts[0])).__next__

        def choose(request: Request, now: float) -> Any:
            one, other = deal()
            if now < one.until and now < other.until:
                mine, theirs = one.member, other.member
                # The very numbers that were read, not only equal ones: nobody has to look into them.
                known = mine.ewma_at is one.at and theirs.ewma_at is other.at
                if known and mine.load is one.load and theirs.load is other.load:
                    try:
                        return theirs if other.scores[theirs.in_flight] > one.scores[mine.in_flight] else mine
                    except KeyError:  # never so busy since its facts were worked out
                        pass
            return better(one, other, now)

        return choose

    def _better(self, one: _Facts, other: _Facts, now: float) -> Any:
        return other.member if self._score(other, now) > self._score(one, now) else one.member

    def _glance(self, candidates: Sequence[Any], now: float, rng: Random) -> Any:
        pair = rng.sample(candidates, min(2, len(candidates)))
        usual = _Usual(pair)
        one, *others = (_Facts(member, usual) for member in pair)
        return self._better(one, others[0] if others else one, now)

    def score(self, member: Any, now: float, among: Sequence[Any]) -> float:
        """What `member` has to spare, 0 to 1, at `now` in seconds; `among` tell which latency is usual."""
        return self._score(_Facts(member, _Usual(among)), now)

    def _score(self, facts: _Facts, now: float) -> float:
        member = facts.member
        if now >= facts.until or member.ewma_at is not facts.at or member.load is not facts.load:
            facts.freshen(self.weights, now)
        busy = member.in_flight
        score = facts.scores.get(busy)
        if score is None:
            score = facts.scores[busy] = self._worked_out(facts, busy)
        return score

    def _worked_out(self, facts: _Facts, busy: int) -> float:
        score = facts.known
        if facts.unknown:
            if facts.slowness:
                score += facts.unknown / (1.0 + facts.slowness * (busy + 1))
            elif not busy:  # it has not answered yet: one call goes to see how long it takes
                score += facts.unknown
        busy, limit = max(busy, facts.connections), facts.limit
        if limit is None:
            return score + facts.room / (facts.half + busy)
        return score + self._connections * (1.0 - busy / limit) if busy < limit else score

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items())
        return f"Adaptive({parts})"


class _Usual:
    """The latency that is usual among candidates, seconds; 0.0 while nobody has answered."""

    __slots__ = ("_among", "_until", "seconds")

    def __init__(self, among: Sequence[Any]) -> None:
        self._among, self._until, self.seconds = among, -inf, 0.0

    def at(self, now: float) -> float:
        if now >= self._until or self.seconds <= 0.0:
            known = [member.ewma_seconds for member in self._among if member.ewma_seconds > 0.0]
            self.seconds = sum(known) / len(known) if known else 0.0
            self._until = now + FRESHEN
        return self.seconds


class _Facts:
    """The parts of a member's score that do not change with every call."""

    __slots__ = (
        "at", "connections", "half", "known", "limit", "load", "member", "room", "scores", "slowness",
        "unknown", "until", "usual",
    )  # fmt: skip

    def __init__(self, member: Any, usual: _Usual) -> None:
        self.member, self.usual = member, usual
        self.load: Any = None
        self.until, self.at = -inf, 0.0
        self.known: float = 0.0
        self.unknown = self.slowness = 0.0
        self.connections, self.half, self.room = 0, 0.0, 0.0
        self.limit: int | None = None
        self.scores: dict[int, float] = {}  # by calls in flight

    def freshen(self, weights: Mapping[str, float], now: float) -> None:
        """Work them out from what is known at `now`."""
        member, capacity = self.member, self.member.endpoint.capacity
        load, seen = member.load, getattr(member, "last_seen", now)
        self.load, self.at, self.until = load, member.ewma_at, now + FRESHEN
        self.scores = {}
        cpu = memory = None
        self.connections = 0
        if load is not None and now - seen <= STALE:
            cpu, memory = load.cpu_percent, load.gpu_cache_percent
            cpu = None if cpu is None else min(1.0, cpu / 100.0)
            if memory is not None:
                memory = min(1.0, memory / 100.0)
            elif load.memory_mb is not None and capacity.max_memory_mb:
                memory = min(1.0, load.memory_mb / capacity.max_memory_mb)
            self.connections = load.connections or 0
            self.until = min(self.until, seen + STALE + 1e-9)
        self.limit, self.half = capacity.max_connections, HALF_FULL * member.weight
        self.room = weights["connections"] * self.half
        served, failed = member.served, member.failed
        self.known = weights["history"] * (served + 1) / (served + failed + 1)
        self.unknown = 0.0
        for part, used in (("cpu", cpu), ("memory", memory)):
            if used is None:
                self.unknown += weights[part]
            else:
                self.known += weights[part] * (1.0 - used)
        usual = self.usual.at(now)
        faded = member.ewma_seconds * exp(min(0.0, member.ewma_at - now) / DECAY)
        self.slowness = faded / usual / member.weight if usual > 0.0 else 0.0


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    where = "balancer.weights"
    if not isinstance(weights, Mapping):
        raise ConfigError(f"{weights!r} is not a mapping of parts to weights", key=where, valid=list(WEIGHTS))
    for part, weight in weights.items():
        if part not in WEIGHTS:
            raise ConfigError(f"unknown part {part!r}", key=where, valid=list(WEIGHTS), got=str(part))
        if type(weight) not in (int, float) or not isfinite(weight) or weight < 0:
            raise ConfigError(f"{weight!r} is not a number >= 0", key=f"{where}.{part}")
    if not isclose(total := sum(weights.values()), 1.0, abs_tol=1e-6):
        raise ConfigError(f"the weights add up to {total:g}, not to 1", key=where)
    return dict(weights)
