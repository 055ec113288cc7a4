"""How long things take: distributions of seconds, drawn from a seeded random.Random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Fixed", "Latency", "LogNormal", "Uniform", "draw", "parse"]


class Distribution(Protocol):
    def draw(self, rng: Rng) -> float: ...


class Rng(Protocol):
    """The part of random.Random that is needed here."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float, /) -> float: ...
    def lognormvariate(self, mu: float, sigma: float, /) -> float: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same.

    seconds: >= 0.
    """

    seconds: float

    def draw(self, rng: Rng) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything between two bounds, alike.

    low, high: seconds, 0 <= low <= high.
    """

    low: float
    high: float

    def draw(self, rng: Rng) -> float:
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A long tail to the right, as measured on real model servers.

    median: seconds, > 0. sigma: of the natural logarithm; 0.5 puts p99 at 3.2 medians.
    """

    median: float
    sigma: float

    def draw(self, rng: Rng) -> float:
        return rng.lognormvariate(math.log(self.median), self.sigma)


Latency = float | Distribution


def draw(latency: Latency, rng: Rng) -> float:
    """Returns seconds."""
    return latency if isinstance(latency, int | float) else latency.draw(rng)


def parse(text: str) -> Latency:
    """Read a latency from a command line: "0.2", "uniform:0.1,0.3" or "lognormal:0.2,0.5".

    Raises: ValueError, which says what would be valid.
    """
    kind, _, rest = text.rpartition(":")
    try:
        numbers = [float(part) for part in rest.split(",")]
        match kind, numbers:
            case "" | "fixed", [seconds]:
                return seconds
            case "uniform", [low, high]:
                return Uniform(low, high)
            case "lognormal", [median, sigma]:
                return LogNormal(median, sigma)
    except ValueError:
        pass
    raise ValueError(f'latency {text!r}: expected seconds, "uniform:LOW,HIGH" or "lognormal:MEDIAN,SIGMA"')
