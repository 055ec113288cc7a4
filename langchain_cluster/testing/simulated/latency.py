"""How long things take: distributions of seconds, drawn from a seeded random.Random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from langchain_cluster.errors import ConfigError

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

    seconds: >= 0. Raises ConfigError, as all of these, for a number out of range.
    """

    seconds: float

    def __post_init__(self) -> None:
        _at_least(0.0, self.seconds, "Fixed.seconds")

    def draw(self, rng: Rng) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything between two bounds, alike.

    low, high: seconds, 0 <= low <= high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _at_least(0.0, self.low, "Uniform.low")
        _at_least(self.low, self.high, "Uniform.high")

    def draw(self, rng: Rng) -> float:
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A long tail to the right, as measured on real model servers.

    median: seconds, > 0. sigma: of the natural logarithm; 0.5 puts p99 at 3.2 medians.
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        _at_least(0.0, self.median, "LogNormal.median")
        if not self.median:
            raise ConfigError("its logarithm is taken, and 0 has none", key="LogNormal.median")
        _at_least(0.0, self.sigma, "LogNormal.sigma")

    def draw(self, rng: Rng) -> float:
        return rng.lognormvariate(math.log(self.median), self.sigma)


Latency = float | Distribution


def _at_least(least: float, value: float, key: str) -> None:
    if type(value) not in (int, float) or not least <= value < math.inf:
        raise ConfigError(f"{value!r} is not a finite number >= {least:g}", key=key)


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
