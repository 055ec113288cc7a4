"""Several checks as one: all of them, any of them, or so many of them."""

from __future__ import annotations

from collections.abc import Generator

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.health import Health
from langchain_cluster.ports import HealthCheck

DEFAULT = 1.0  # seconds for a part that does not say how long it takes


class Quorum:
    """Healthy when at least `need` of `checks` say so.

    They are asked in order, and no further than is needed to know: put the cheap ones first. A part
    that raises has failed. The load is the first that one of them reports.

    Raises:
        ConfigError: no checks, something that is none, or a `need` that cannot be met.
    """

    def __init__(self, need: int, *checks: HealthCheck) -> None:
        for check in checks:
            if isinstance(check, type) or not isinstance(check, HealthCheck):
                raise ConfigError(f"{check!r} is no HealthCheck: it has no check and acheck", key="checks")
        if not 1 <= need <= len(checks):
            raise ConfigError(f"{need!r} of {len(checks)} checks cannot be asked for", key="need")
        self.need, self.checks = need, checks
        self.timeout = sum(getattr(check, "timeout", DEFAULT) for check in checks)

    def check(self, endpoint: Endpoint) -> Health:
        """Ask until it is decided."""
        counting = self._count()
        try:
            part = next(counting)
            while True:
                try:
                    health = part.check(endpoint)
                except Exception as error:
                    health = _raised(error)
                part = counting.send(health)
        except StopIteration as decided:
            return _decided(decided)

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        counting = self._count()
        try:
            part = next(counting)
            while True:
                try:
                    health = await part.acheck(endpoint)
                except Exception as error:
                    health = _raised(error)
                part = counting.send(health)
        except StopIteration as decided:
            return _decided(decided)

    def _count(self) -> Generator[HealthCheck, Health, Health]:
        good: list[Health] = []
        bad: list[Health] = []
        for number, check in enumerate(self.checks):
            health = yield check
            (good if health.ok else bad).append(health)
            left = len(self.checks) - number - 1
            if len(good) >= self.need or len(good) + left < self.need:
                break
        ok = len(good) >= self.need
        return Health(
            ok,
            "; ".join(health.reason for health in (good if ok else bad)),
            next((health.load for health in good if health.load is not None), None),
            sum(health.seconds for health in good + bad),
        )

    def close(self) -> None:
        """Close the parts that can be."""
        for check in self.checks:
            close = getattr(check, "close", None)
            if close is not None:
                close()

    def __repr__(self) -> str:
        return f"{self._name()}({', '.join(map(repr, self.checks))})"

    def _name(self) -> str:
        count = len(self.checks)
        return "Any" if self.need == 1 else "All" if self.need == count else f"{self.need} of {count}: "


def All(*checks: HealthCheck) -> Quorum:
    """Healthy when every one of `checks` says so."""
    return Quorum(len(checks), *checks)


def Any(*checks: HealthCheck) -> Quorum:
    """Healthy when at least one of `checks` says so."""
    return Quorum(1, *checks)


def _raised(error: Exception) -> Health:
    return Health(False, f"{type(error).__name__}: {error}"[:200].rstrip(": "))


def _decided(stop: StopIteration) -> Health:
    health: Health = stop.value
    return health
