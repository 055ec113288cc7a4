"""When calls come, and whose they are."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import isfinite
from random import Random
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request

PREFIX = 64  # characters a session's prompt begins with: a block of `prefix_affinity`


def number(value: Any, key: str, *, least: float = 0.0, most: float = float("inf")) -> None:
    """Raises ConfigError when `value` is no number from `least` to `most`."""
    if type(value) not in (int, float) or not least <= value <= most:
        bounds = f">= {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
        raise ConfigError(f"{value!r} is not a number {bounds}", key=key)


def positive(value: Any, key: str) -> None:
    """Raises ConfigError when `value` is no finite number > 0."""
    if type(value) not in (int, float) or not isfinite(value) or value <= 0:
        raise ConfigError(f"{value!r} is not a finite number > 0", key=key)


def count(value: Any, key: str) -> None:
    """Raises ConfigError when `value` is no integer >= 1."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"{value!r} is not an integer >= 1", key=key)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Open arrivals: `rate` calls a second, at random, whatever the pool can bear."""

    rate: float

    def __post_init__(self) -> None:
        positive(self.rate, "Poisson.rate")


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`callers` that each call again as soon as they are answered: that many calls in flight."""

    callers: int

    def __post_init__(self) -> None:
        count(self.callers, "ClosedLoop.callers")


@dataclass(frozen=True)
class Sessions:
    """Conversations: each call belongs to one, and an endpoint that has seen it lately answers sooner.

    Args:
        count: how many there are, >= 1.
        skew: of their popularity, >= 0; the n-th most popular has 1 / n ** skew of the first's calls
            (Zipf). 0: all alike.
        remembered: how many of them the cache of an endpoint holds, >= 0, the least recently used leaving.
        saves: the part of its time that an answer takes less when its session is remembered, 0-1.

    The session is the request's `key`, and a text of its own its `prefix`.
    """

    count: int
    skew: float = 1.0
    remembered: int = 50
    saves: float = 0.7

    def __post_init__(self) -> None:
        count(self.count, "Sessions.count")
        number(self.skew, "Sessions.skew", most=100.0)
        if type(self.remembered) is not int or self.remembered < 0:
            raise ConfigError(f"{self.remembered!r} is not an integer >= 0", key="Sessions.remembered")
        number(self.saves, "Sessions.saves", most=1.0)

    @cached_property
    def _until(self) -> list[float]:
        return list(accumulate(1.0 / rank**self.skew for rank in range(1, self.count + 1)))

    def draw(self, rng: Random) -> Request:
        """A call of one of them."""
        drawn = bisect(self._until, rng.random() * self._until[-1])
        name = f"session-{min(drawn, self.count - 1) + 1}"
        return Request(key=name, prefix=f"{name} ".ljust(PREFIX, "."))
