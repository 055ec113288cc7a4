"""What can be wrong with a simulated endpoint, and when: it fails, hangs, throttles or turns slow."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from langchain_cluster.errors import ConfigError
from langchain_cluster.testing.simulation.traffic import number, positive


@dataclass(frozen=True, slots=True)
class _Mishap:
    endpoint: str

    def _check(self, start: float, end: float) -> None:
        kind = type(self).__name__
        number(start, f"{kind}.start")
        number(end, f"{kind}.end")
        if end <= start:
            raise ConfigError(f"it ends at {end:g} s and starts at {start:g} s", key=f"{kind}.end")


@dataclass(frozen=True, slots=True)
class Failing(_Mishap):
    """An endpoint that fails after `seconds`, with `probability`, from `start` to `end` (virtual time)."""

    seconds: float = 0.0
    probability: float = 1.0
    start: float = 0.0
    end: float = inf

    def __post_init__(self) -> None:
        number(self.seconds, "Failing.seconds")
        number(self.probability, "Failing.probability", most=1.0)
        self._check(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Hanging(_Mishap):
    """An endpoint that takes calls and never answers, with `probability`, from `start` to `end`."""

    probability: float = 1.0
    start: float = 0.0
    end: float = inf

    def __post_init__(self) -> None:
        number(self.probability, "Hanging.probability", most=1.0)
        self._check(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Throttling(_Mishap):
    """An endpoint that takes `rate` calls a second (as many at once) and answers others with a 429.

    `retry_after`: seconds it asks to be left alone; None: it does not say.
    """

    rate: float
    retry_after: float | None = 1.0
    start: float = 0.0
    end: float = inf

    def __post_init__(self) -> None:
        positive(self.rate, "Throttling.rate")
        if self.retry_after is not None:
            number(self.retry_after, "Throttling.retry_after", most=3600.0)
        self._check(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Slowing(_Mishap):
    """An endpoint whose answers take `factor` times as long, from `start` to `end`."""

    factor: float
    start: float = 0.0
    end: float = inf

    def __post_init__(self) -> None:
        positive(self.factor, "Slowing.factor")
        self._check(self.start, self.end)


Mishap = Failing | Hanging | Throttling | Slowing
