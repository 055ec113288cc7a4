"""Which endpoints of a pool? Conditions that narrow a list, combined with `&`, `|` and `~`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Protocol

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import (
    Endpoint,
    EndpointStatus,
    Load,
    Role,
    is_number,
    labels_of,
    role_of,
    status_of,
)

CIRCUITS = ("closed", "open", "half_open", "forced_open", "disabled", "metrics_only")
_WHERE = "EndpointFilter"


class Listed(Protocol):
    """What a condition may look at: an endpoint and its live state."""

    endpoint: Endpoint
    status: EndpointStatus
    load: Load | None
    in_flight: int
    last_seen: float

    @property
    def breaker_state(self) -> str:
        """Name of the state of its circuit breaker."""


class Condition:
    """Something an endpoint can meet; `a & b`, `a | b` and `~a` are conditions too."""

    def matches(self, member: Listed, now: float) -> bool:
        """Whether `member` meets this at `now` (monotonic seconds)."""
        raise NotImplementedError

    def __and__(self, other: object) -> Condition:
        return _All((self, other)) if isinstance(other, Condition) else NotImplemented

    def __or__(self, other: object) -> Condition:
        return _Any((self, other)) if isinstance(other, Condition) else NotImplemented

    def __invert__(self) -> Condition:
        return _Not(self)


@dataclass(frozen=True)
class _All(Condition):
    parts: tuple[Condition, ...]

    def matches(self, member: Listed, now: float) -> bool:
        return all(part.matches(member, now) for part in self.parts)


@dataclass(frozen=True)
class _Any(Condition):
    parts: tuple[Condition, ...]

    def matches(self, member: Listed, now: float) -> bool:
        return any(part.matches(member, now) for part in self.parts)


@dataclass(frozen=True)
class _Not(Condition):
    part: Condition

    def matches(self, member: Listed, now: float) -> bool:
        return not self.part.matches(member, now)


@dataclass(frozen=True, kw_only=True)
class EndpointFilter(Condition):
    """All the conditions that are given must hold; one that is not given always does.

    Args:
        ids: the endpoint is one of these. name: its id matches this glob ("gpu-*").
        status, zone, tier, breaker_state: equal. model: equal to the metadata key "model".
        roles: it has at least one. tags_any, tags_all: it carries one, or all, of these.
        metadata: it has all of these pairs.
        min_weight: its weight is at least this.
        capacity_left: it can take at least this many more calls at once (unbounded always can).
        cpu_below: it reports a CPU load below this percentage; no report, no match.
        seen_within: its last heartbeat is at most this many seconds old.

    Raises:
        ConfigError: a value that nothing could ever match: of the wrong type, an unknown name, NaN.
    """

    ids: frozenset[str] | None = None
    name: str | None = None
    status: EndpointStatus | None = None
    roles: frozenset[Role] | None = None
    tags_any: frozenset[str] | None = None
    tags_all: frozenset[str] | None = None
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    zone: str | None = None
    tier: str | None = None
    model: str | None = None
    min_weight: float | None = None
    capacity_left: int | None = None
    cpu_below: float | None = None
    seen_within: float | None = None
    breaker_state: str | None = None

    def __post_init__(self) -> None:
        for spec in fields(self):
            given = getattr(self, spec.name)
            if given is not None:
                object.__setattr__(self, spec.name, _READ[spec.name](given, spec.name))

    def matches(self, member: Listed, now: float) -> bool:
        return all(
            _CHECKS[spec.name](getattr(self, spec.name), member, now)
            for spec in fields(self)
            if getattr(self, spec.name) is not None
        )


def _text(given: Any, name: str) -> str:
    if not isinstance(given, str):
        raise ConfigError(f"{name} {given!r} is not a text", key=_WHERE)
    return given


def _number(given: Any, name: str) -> float:
    if not is_number(given) or given != given:
        raise ConfigError(f"{name} {given!r} is not a number", key=_WHERE)
    number: float = given
    return number


def _labels(given: Any, name: str) -> frozenset[str]:
    return frozenset(labels_of(given, _WHERE, name))


def _pairs(given: Any, name: str) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} {given!r} is not a mapping", key=_WHERE)
    return given


def _circuit(given: Any, name: str) -> str:
    if given not in CIRCUITS:
        raise ConfigError(f"unknown {name} {given!r}", key=_WHERE, valid=CIRCUITS, got=str(given))
    state: str = given
    return state


_READ: dict[str, Callable[[Any, str], Any]] = {
    "ids": _labels,
    "name": _text,
    "status": lambda given, name: status_of(given, _WHERE),
    "roles": lambda given, name: frozenset(role_of(role, _WHERE) for role in _labels(given, name)),
    "tags_any": _labels,
    "tags_all": _labels,
    "metadata": _pairs,
    "zone": _text,
    "tier": _text,
    "model": _text,
    "min_weight": _number,
    "capacity_left": _number,
    "cpu_below": _number,
    "seen_within": _number,
    "breaker_state": _circuit,
}


def _has_room(wanted: int, member: Listed) -> bool:
    most = member.endpoint.capacity.max_connections
    return most is None or most - member.in_flight >= wanted


def _cool(below: float, member: Listed) -> bool:
    cpu = member.load.cpu_percent if member.load else None
    return cpu is not None and cpu < below


_CHECKS: dict[str, Callable[[Any, Listed, float], bool]] = {
    "ids": lambda want, m, now: m.endpoint.id in want,
    "name": lambda want, m, now: fnmatchcase(m.endpoint.id, want),
    "status": lambda want, m, now: m.status == want,
    "roles": lambda want, m, now: bool(want & m.endpoint.roles),
    "tags_any": lambda want, m, now: bool(want & m.endpoint.tags),
    "tags_all": lambda want, m, now: want <= m.endpoint.tags,
    "metadata": lambda want, m, now: all(m.endpoint.metadata.get(k) == v for k, v in want.items()),
    "zone": lambda want, m, now: m.endpoint.zone == want,
    "tier": lambda want, m, now: m.endpoint.tier == want,
    "model": lambda want, m, now: m.endpoint.metadata.get("model") == want,
    "min_weight": lambda want, m, now: m.endpoint.weight >= want,
    "capacity_left": lambda want, m, now: _has_room(want, m),
    "cpu_below": lambda want, m, now: _cool(want, m),
    "seen_within": lambda want, m, now: now - m.last_seen <= want,
    "breaker_state": lambda want, m, now: m.breaker_state == want,
}
