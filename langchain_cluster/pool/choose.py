"""Who comes into question for a request, in which order, and why nobody does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from math import inf
from random import Random

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.model.call import Request
from langchain_cluster.pool.match import lacks
from langchain_cluster.pool.members import Member, Snapshot


def suited(members: Sequence[Member], request: Request, exclude: Collection[str]) -> tuple[Member, ...]:
    """Those of `members` that may serve `request` and are not excluded."""
    return tuple(m for m in members if m.endpoint.id not in exclude and lacks(m.endpoint, request) is None)


def in_zone(members: Sequence[Member], zone: str) -> Sequence[Member]:
    """Those in the zone; all of them when none is."""
    return tuple(m for m in members if m.endpoint.zone == zone) or members


def groups(snapshot: Snapshot, rng: Random) -> Iterator[Sequence[Member]]:
    """The groups to ask in turn: the level this call falls to by its share of traffic, then the others."""
    first = 0
    if snapshot.spill:
        chance = rng.random()
        first = next((n for n, share in enumerate(snapshot.spill) if chance < share), 0)
    everybody = (snapshot.ready, *snapshot.reserve)
    yield everybody[first]
    for number, group in enumerate(everybody):
        if number != first:
            yield group


def anybody(snapshot: Snapshot, request: Request, exclude: Collection[str]) -> bool:
    """Whether somebody may be asked, tried before or not."""
    known = (*snapshot.ready, *chain(*snapshot.reserve), *snapshot.probes)
    return bool(suited(known, request, exclude))


def full(snapshot: Snapshot, request: Request, exclude: Collection[str]) -> bool:
    """Whether somebody would be asked, if only a call of its own ended."""
    known = suited((*snapshot.ready, *chain(*snapshot.reserve)), request, exclude)
    return any(m.in_flight >= m.limit for m in known)


def seconds_to_cool(
    snapshot: Snapshot, request: Request, exclude: Collection[str], now: float
) -> float | None:
    """Seconds until the first endpoint that asked to be left alone may be asked; None if none did."""
    times = [
        m.cooling_until
        for m in suited(snapshot.members, request, exclude)
        if m.cooling_until > now and m.free_at(now) == m.cooling_until
    ]
    return min(times) - now if times else None


def nobody(snapshot: Snapshot, request: Request, exclude: Collection[str], now: float) -> NoEndpointAvailable:
    """The error that says why nobody may be asked, and when the first may."""
    members = snapshot.members
    why = {m.endpoint.id: _why_not(m, request, exclude, now) for m in members}
    # Who was asked already may be asked again: only what the request itself rules out never will.
    # Nobody can tell when the call ends that fills an endpoint, or probes it.
    times = [m.free_at(now) for m in members if lacks(m.endpoint, request) is None and not m.taken]
    soonest = min((at for at in times if at < inf), default=None)
    wait = None if soonest is None else max(0.0, soonest - now)
    text = "no endpoint available" if members else "the pool is empty"
    return NoEndpointAvailable(text, retry_after=wait, why=why)


def _why_not(member: Member, request: Request, exclude: Collection[str], now: float) -> str:
    reason = lacks(member.endpoint, request) or member.why_not(now)
    if reason is None and member.endpoint.id in exclude:
        reason = "was asked already"
    if reason is None and member.probing:
        reason = "circuit half open, a probe is under way"
    if reason is None and member.in_flight >= member.limit:
        reason = f"at its limit of {member.limit:g} calls"
    return reason or "lost to another call"
