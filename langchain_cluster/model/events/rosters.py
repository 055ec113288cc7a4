"""What discovery, and the state shared with other processes, say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.model.events.event import Event


@dataclass(frozen=True, slots=True)
class DiscoveryFailed(Event):
    """A discovery source cannot be read: the last roster stays. Told once until it has recovered.

    `stale_seconds`: since it last answered; None if it never did.
    """

    source: str
    error: str
    stale_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DiscoveryRecovered(Event):
    """A discovery source can be read again, after `seconds`."""

    source: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RosterHeld(Event):
    """A discovery source names `endpoints` no more, and they stay for now; `reason` says why."""

    source: str
    endpoints: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RosterReleased(Event):
    """`endpoints` are not held back any more: they leave, or the source names them again."""

    source: str
    endpoints: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RosterRestored(Event):
    """A discovery source could not be asked yet: the roster kept `age_seconds` ago is used, until it can."""

    source: str
    endpoints: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class SharingLost(Event):
    """Nothing is heard of other processes, and they hear nothing: all else goes on. Told once per outage."""

    error: str


@dataclass(frozen=True, slots=True)
class SharingRestored(Event):
    """What other processes see is heard again, after `seconds`."""

    seconds: float
