"""Who comes into question for a request, in which order, and why nobody does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from math import inf
from random import Random
from typing import Protocol

from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.model.call import Request
from langchain_cluster.pool.match import Doubts, doubt, doubts_of, lacks, narrowing
from langchain_cluster.pool.members import Member, Snapshot


def suited(members: Sequence[Member], request: Request, exclude: Collection[str]) -> tuple[Member, ...]:
    """Those of `members` that may serve `request` and are not excluded."""
    return tuple(m for m in members if m.endpoint.id not in exclude and lacks(m.endpoint, request) is None)


def without(members: Sequence[Member], exclude: Collection[str]) -> Sequence[Member]:
    """Those that are not excluded; the same sequence when nobody is."""
    return tuple(m for m in members if m.endpoint.id not in exclude) if exclude else members


def doubts_about(snapshot: Snapshot, request: Request, now: float) -> Doubts:
    """What speaks against some of those that lack nothing, and not against all that may be asked again."""
    suit = [m for m in snapshot.members if lacks(m.endpoint, request) is None]
    able = [m for m in suit if m.free_at(now) < inf] or suit
    return doubts_of([m.endpoint for m in able], request)


def left_out(snapshot: Snapshot, request: Request, exclude: Collection[str], now: float) -> Collection[str]:
    """`exclude`, and those that would fail where others would not."""
    if not snapshot.doubtful or not (request.needs or request.tokens or request.reserve):
        return exclude
    doubts = doubts_about(snapshot, request, now)
    out = [m.endpoint.id for m in snapshot.members if doubt(m.endpoint, doubts) is not None]
    return {*exclude, *out} if out else exclude


def zoned(
    groups: Sequence[tuple[Member, ...]], spill: tuple[float, ...], zone: str
) -> tuple[tuple[tuple[Member, ...], ...], tuple[float, ...]]:
    """`groups` with those in `zone` before the rest of each, which has no share of the traffic of its own.

    A zone is preferred, not demanded: where all of it are full the rest of the level is asked.
    """
    parts: list[tuple[Member, ...]] = []
    ends: list[float] = []
    for number, group in enumerate(groups):
        inside = tuple(m for m in group if m.endpoint.zone == zone)
        outside = tuple(m for m in group if m.endpoint.zone != zone)
        found = [part for part in (inside, outside) if part] or [group]
        parts += found
        if number < len(spill):
            ends += [spill[number]] * len(found)
    return tuple(parts), tuple(ends)


class Groups(Protocol):
    """Who may be asked, in which order, and where their shares of the traffic end."""

    @property
    def ready(self) -> Sequence[Member]: ...
    @property
    def reserve(self) -> Sequence[Sequence[Member]]: ...
    @property
    def spill(self) -> tuple[float, ...]: ...
    @property
    def probes(self) -> Sequence[Member]: ...


def groups(snapshot: Groups, rng: Random) -> Iterator[Sequence[Member]]:
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


def anybody(snapshot: Snapshot, view: Groups, request: Request, exclude: Collection[str], now: float) -> bool:
    """Whether somebody of `view`, which is what `request` sees, may be asked, tried before or not."""
    exclude = left_out(snapshot, request, exclude, now)
    return bool(without((*view.ready, *chain(*view.reserve), *view.probes), exclude))


def has_room(member: Member, request: Request, now: float) -> bool:
    """Whether one more call is within its limits."""
    return member.in_flight < member.limit and (
        member.rates is None or member.rates.free_at(request, now) <= now
    )


def full(snapshot: Snapshot, view: Groups, request: Request, exclude: Collection[str], now: float) -> bool:
    """Whether somebody of `view` would be asked, if only a call of its own ended."""
    exclude = left_out(snapshot, request, exclude, now)
    known = without((*view.ready, *chain(*view.reserve)), exclude)
    return any(not has_room(member, request, now) for member in known)


def room(snapshot: Snapshot, request: Request, exclude: Collection[str], now: float) -> tuple[float, bool]:
    """When time alone may make a place, infinity if it will not; whether a call that ends may."""
    exclude = left_out(snapshot, request, exclude, now)
    soonest, taken = inf, False
    for member in suited(snapshot.members, request, exclude):
        if (at := member.free_at(now)) < inf:
            if member.rates is not None:
                at = max(at, member.rates.free_at(request, now))
            if member.taken:
                taken = True
            elif at > now:
                soonest = min(soonest, at)
    return soonest, taken


def seconds_to_cool(
    snapshot: Snapshot, request: Request, exclude: Collection[str], now: float
) -> float | None:
    """Seconds until the first endpoint that asked to be left alone may be asked; None if none did."""
    exclude = left_out(snapshot, request, exclude, now)
    times = [
        m.cooling_until
        for m in suited(snapshot.members, request, exclude)
        if m.cooling_until > now and m.free_at(now) == m.cooling_until
    ]
    return min(times) - now if times else None


def nobody(snapshot: Snapshot, request: Request, exclude: Collection[str], now: float) -> NoEndpointAvailable:
    """The error that says which condition left nobody, why nobody may be asked, and when the first may."""
    members = snapshot.members
    if not members:
        return NoEndpointAvailable("the pool is empty")
    doubts = doubts_about(snapshot, request, now)
    told, left = narrowing([m.endpoint for m in members], request, doubts)
    text = "no endpoint available"
    if told:
        text += f": of {len(members)} {'endpoints' if len(members) > 1 else 'endpoint'} {told}"
        text += ", and none of those may be asked now" if left else ""
    ids = {endpoint.id for endpoint in left}
    # Those that came furthest first: the message has not room for all.
    told_first = sorted(members, key=lambda m: m.endpoint.id not in ids)
    why = {m.endpoint.id: _why_not(m, request, doubts, exclude, now) for m in told_first}
    # Who was asked already may be asked again: only what the request itself rules out never will.
    # Nobody can tell when the call ends that fills an endpoint, or probes it.
    times = [_free_at(m, request, now) for m in members if m.endpoint.id in ids and not m.taken]
    soonest = min((at for at in times if at < inf), default=None)
    wait = None if soonest is None else max(0.0, soonest - now)
    return NoEndpointAvailable(text, retry_after=wait, why=why)


def _why_not(member: Member, request: Request, doubts: Doubts, exclude: Collection[str], now: float) -> str:
    endpoint = member.endpoint
    reason = lacks(endpoint, request) or doubt(endpoint, doubts) or member.why_not(now)
    if reason is None and endpoint.id in exclude:
        reason = "was asked already"
    if reason is None and member.probing:
        reason = "circuit half open, a probe is under way"
    if reason is None and member.in_flight >= member.limit:
        reason = f"at its limit of {member.limit:g} calls"
    if reason is None and (wait := _free_at(member, request, now) - now) > 0:
        reason = f"out of its limits per minute for {wait:.1f} s more"
    return reason or "lost to another call"


def _free_at(member: Member, request: Request, now: float) -> float:
    at = member.free_at(now)
    return at if member.rates is None else max(at, member.rates.free_at(request, now))
