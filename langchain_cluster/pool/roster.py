"""From a list of members to the picture readers work with: who may be asked, and until when that holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from types import MappingProxyType

from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.limits import OUT_OF_ORDER
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus, Role
from langchain_cluster.model.events import Event, PanicChanged, TrafficMoved
from langchain_cluster.model.policy import SlowStartPolicy
from langchain_cluster.pool.failover import level_with
from langchain_cluster.pool.levels import panics, shares
from langchain_cluster.pool.members import Member, Snapshot
from langchain_cluster.pool.peers import Peers
from langchain_cluster.pool.slow_start import STEP, factor

ZONED = 6  # endpoints: in a smaller pool, keeping to one zone overruns the few that are in it (Envoy)

Level = Callable[[Member], int]
Prepare = Callable[
    [tuple[Member, ...]],
    tuple[Callable[[], Member] | None, Callable[[Request, float], Member] | None],
]
"""What costs, and is done before a group is published -> `turn` and `choose` of its snapshot."""


def no_duplicates(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints as a tuple.

    Raises:
        ConfigError: something is no endpoint, or two have one id.
    """
    seen: dict[str, Endpoint] = {}
    for place, endpoint in enumerate(endpoints):
        if not isinstance(endpoint, Endpoint):
            # By its kind: the repr of a bare model has the password of its address in it.
            kind = type(endpoint).__name__
            raise ConfigError(f"{kind} is not an Endpoint(id, model)", key=f"endpoints[{place}]")
        if endpoint.id in seen:
            raise ConfigError(f"two endpoints have the id {endpoint.id!r}", key=f"endpoints[{place}].id")
        seen[endpoint.id] = endpoint
    return tuple(seen.values())


def build_snapshot(
    members: Sequence[Member],
    now: float,
    *,
    slow_start: SlowStartPolicy | None = None,
    before: Snapshot | None = None,
    prepare: Prepare | None = None,
    promoted: Collection[int] = (),
) -> Snapshot:
    """The picture at `now`: the first level that can be asked, and who comes after it, busy ones last.

    Groups that are as they were `before` are the same tuples: balancers keep what they worked out.
    What they work out for others is done here, by `prepare`, so that no call waits for it.
    Levels that are `promoted` are a part of the first.
    """
    ready: list[Member] = []
    probes: list[Member] = []
    wake = inf
    # All checks failing at once: the checker is the suspect, so its word counts for nothing.
    blind = not any(member.healthy for member in members)
    for index, member in enumerate(members):
        member.index = index
        if member.warming_since is not None and slow_start is not None:
            member.warm(factor(slow_start, member.warming_since, now))
            if member.warming_since is not None:
                wake = min(wake, now + STEP)
        if member.why_not(now, blind=blind) is None:
            (probes if member.probing else ready).append(member)
        else:
            free_at = member.free_at(now)
            if free_at > now:
                wake = min(wake, free_at)
    told = levels_of(members, ready, promoted, now)
    narrowest = min((m.endpoint.window or inf for m in members), default=inf)
    first, *reserve = _as_before(list(told.groups), before) if told.groups else ((),)
    for group in (first, *reserve):
        if not all(member.peers.members is group for member in group):
            Peers(group)
    turn = choose = None
    if prepare is not None:
        if before is not None and first is before.ready:
            turn, choose = before.turn, before.choose
        elif len(first) > 1:
            turn, choose = prepare(first)
        for group in reserve[: len(told.spill) - 1] if told.spill else ():
            prepare(group)  # so that it is kept; asked for only now and then
    return Snapshot(
        members=tuple(members),
        by_id=MappingProxyType({m.endpoint.id: m for m in members}),
        ready=first,
        reserve=tuple(reserve),
        spill=told.spill,
        turn=turn,
        choose=choose,
        probes=tuple(probes),
        wake=wake,
        since=now - OUT_OF_ORDER,
        mixed=any(m.endpoint.roles != {Role.LLM} for m in members),
        weights=tuple(m.weight for m in members),
        narrowest=narrowest,
        doubtful=narrowest < inf or any(m.endpoint.hints.denied for m in members),
        metered=any(m.rates is not None and m.rates.tokens for m in members),
        zoned=len(members) >= ZONED and not told.sparse,
        shares=told.shares,
        panic=told.panic,
        able=tuple(ready),
        promoted=frozenset(promoted),
    )


def moves(before: Snapshot, after: Snapshot, now: float) -> list[Event]:
    """What has changed between two pictures in how levels share the traffic."""
    events: list[Event] = []
    if before.shares != after.shares and max(len(before.shares), len(after.shares)) > 1:
        events.append(TrafficMoved(now, after.shares, before.shares))
    if before.panic != after.panic:
        events += [PanicChanged(now, level, True) for level in after.panic if level not in before.panic]
        events += [PanicChanged(now, level, False) for level in before.panic if level not in after.panic]
    return events


def _of(members: Sequence[Member], number: int, level: Level, *, busy: bool) -> tuple[Member, ...]:
    return tuple(m for m in members if level(m) == number and (m.status is EndpointStatus.BUSY) is busy)


@dataclass(frozen=True, slots=True)
class Levels:
    """How priority levels share the traffic.

    Args:
        groups: who may be asked of each level that has anybody, then busy ones, level by level.
        spill, shares, panic: as in `Snapshot`.
        sparse: whether too few are well anywhere.
    """

    groups: tuple[tuple[Member, ...], ...]
    spill: tuple[float, ...]
    shares: tuple[tuple[int, float], ...]
    panic: tuple[int, ...]
    sparse: bool


def levels_of(
    members: Sequence[Member], ready: Sequence[Member], promoted: Collection[int], now: float
) -> Levels:
    """How `members` share the traffic, of whom `ready` may be asked without reserve."""
    level = level_with(members, promoted)
    counted = [m for m in members if m.in_service]
    numbers = sorted({level(m) for m in counted})
    idle = {number: _of(ready, number, level, busy=False) for number in numbers}
    totals = {number: sum(level(m) == number for m in counted) for number in numbers}
    parts, together = shares([(len(idle[number]), totals[number]) for number in numbers])
    levels, panic, sparse = [], [], False
    for number, part in zip(numbers, parts, strict=True):
        group = idle[number]
        if panics(len(group), totals[number], together):
            sparse = True
            whole = tuple(
                m
                for m in counted
                if level(m) == number
                and m.status is not EndpointStatus.BUSY
                and m.why_not(now, blind=True, panic=True) is None
                and not m.probing
            )
            if whole != group:
                panic.append(number)
            group = whole
        if group:
            levels.append((group, part))
    told = tuple(zip(numbers, parts, strict=True))
    groups = [group for group, _ in levels]
    numbers = sorted({level(member) for member in ready})
    groups += [busy for number in numbers if (busy := _of(ready, number, level, busy=True))]
    return Levels(tuple(groups), _spill([part for _, part in levels]), told, tuple(panic), sparse)


def _spill(parts: Sequence[float]) -> tuple[float, ...]:
    """Where the levels' shares end, on a scale from 0 to 1; () when one level carries everything."""
    if len(parts) < 2 or parts[0] >= 1.0:
        return ()
    return tuple(accumulate(parts))


def _as_before(groups: list[tuple[Member, ...]], before: Snapshot | None) -> list[tuple[Member, ...]]:
    if before is None:
        return groups
    known = {group: group for group in (before.ready, *before.reserve)}
    weights = dict(zip(before.members, before.weights, strict=True))
    return [
        known[group] if group in known and all(weights[m] == m.weight for m in group) else group
        for group in groups
    ]
