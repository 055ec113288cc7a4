"""Where the traffic goes: levels, tiers, and calls that move."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.model.events.event import Event


@dataclass(frozen=True, slots=True)
class TrafficMoved(Event):
    """Priority levels carry other parts of the traffic than before: (level, part 0-1) for each that has any.

    None at all means that nobody of any level may be asked.
    """

    shares: tuple[tuple[int, float], ...]
    before: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class PanicChanged(Event):
    """A priority level is used whole, unhealthy endpoints included, because too few are well; or no more."""

    level: int
    panics: bool


@dataclass(frozen=True, slots=True)
class StandbyChanged(Event):
    """A standby level is a part of the first for now; or a standby again."""

    level: int
    promoted: bool


@dataclass(frozen=True, slots=True)
class TierShifted(Event):
    """Calls for `tier` go to the tier `to`; None: to their own again."""

    tier: str
    to: str | None


@dataclass(frozen=True, slots=True)
class CallsMigrated(Event):
    """So many calls that had delivered nothing were called back from an endpoint, to be made elsewhere."""

    endpoint: str
    calls: int
    reason: str
