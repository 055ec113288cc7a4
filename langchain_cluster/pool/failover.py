"""One state per endpoint, standby levels that are called up, and who has more than its part.

A level is asked when the ones below it cannot carry the load (`levels`). Promoted, it is a part of the
first level, and balanced with it, until it is demoted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import ceil

from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.endpoint import EndpointState, EndpointStatus
from langchain_cluster.pool.members import Member

OVER = 1.25  # times its part of the calls in flight, by weight: more is too much
STANDS_IN = 20.0  # seconds until somebody looks whether a level that standbys stand in for is well again
_OUT = {
    EndpointStatus.OFFLINE: EndpointState.OFFLINE,
    EndpointStatus.DRAINING: EndpointState.DRAINING,
}


def state_of(member: Member, now: float) -> EndpointState:
    """Health, circuit, ejection and what an operator said, as one word: the first that keeps it out."""
    circuit = member.breaker.state
    if member.status in _OUT:
        return _OUT[member.status]
    if member.weight <= 0:
        return EndpointState.IDLE
    if circuit is BreakerState.FORCED_OPEN:
        return EndpointState.FORCED_OPEN
    if not member.healthy:
        return EndpointState.UNHEALTHY
    if circuit is BreakerState.OPEN and member.breaker.open_until > now:
        return EndpointState.OPEN
    if member.ejected_until > now:
        return EndpointState.EJECTED
    if member.cooling_until > now:
        return EndpointState.COOLING
    if member.probing:
        return EndpointState.PROBING
    if member.status is EndpointStatus.BUSY:
        return EndpointState.BUSY
    return EndpointState.UP if member.warming_since is None else EndpointState.WARMING


def soon_probed(members: Sequence[Member], promoted: Collection[int], now: float) -> bool:
    """Let circuits of a level that only standbys stand in for be probed within `STANDS_IN` seconds.

    A circuit that opens again and again waits longer and longer, which spares an endpoint its peers do
    without. A standby is there for an outage: when that is over, traffic is to go back.

    Returns:
        Whether any circuit's time changed.
    """
    level = level_with(members, promoted)
    serving = [level(member) for member in members if member.why_not(now) is None and not member.probing]
    if not serving:
        return False
    best, changed = min(serving), False
    for member in members:
        if level(member) < best and member.in_service:
            changed |= member.breaker.probe_by(now + STANDS_IN, now)
    return changed


def over_their_part(members: Sequence[Member]) -> list[tuple[Member, int]]:
    """Who has more calls in flight than `OVER` times its part by weight, and how many too many.

    `members`: those that may be asked now, of one level.
    """
    weights = sum(member.weight for member in members)
    calls = sum(member.in_flight for member in members)
    if len(members) < 2 or weights <= 0.0:
        return []
    parts = [(member, ceil(OVER * calls * member.weight / weights)) for member in members]
    return [(member, member.in_flight - part) for member, part in parts if member.in_flight > part]


def own_level(member: Member) -> int:
    """The level an endpoint is given by its description."""
    return member.endpoint.priority


def level_with(members: Sequence[Member], promoted: Collection[int]) -> Callable[[Member], int]:
    """The level an endpoint counts for, where those of `promoted` are a part of the first."""
    if not promoted:
        return own_level
    first = min((member.endpoint.priority for member in members), default=0)

    def level(member: Member) -> int:
        own = member.endpoint.priority
        return first if own in promoted else own

    return level


def next_standby(members: Sequence[Member], promoted: Collection[int], now: float) -> int | None:
    """The lowest level above the first that is not promoted and has somebody who can be asked."""
    levels = sorted({member.endpoint.priority for member in members})
    for level in levels[1:]:
        there = (m for m in members if m.endpoint.priority == level)
        if level not in promoted and any(m.why_not(now) is None and not m.probing for m in there):
            return level
    return None
