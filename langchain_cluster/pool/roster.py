"""From a list of members to the picture readers work with: who may be asked, and until when that holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from types import MappingProxyType

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus, Role
from langchain_cluster.pool.members import Member, Snapshot


def no_duplicates(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints as a tuple.

    Raises:
        ConfigError: something is no endpoint, or two have one id.
    """
    seen: dict[str, Endpoint] = {}
    for place, endpoint in enumerate(endpoints):
        if not isinstance(endpoint, Endpoint):
            raise ConfigError(f"{endpoint!r} is not an Endpoint", key=f"endpoints[{place}]")
        if endpoint.id in seen:
            raise ConfigError(f"two endpoints have the id {endpoint.id!r}", key=f"endpoints[{place}].id")
        seen[endpoint.id] = endpoint
    return tuple(seen.values())


def build_snapshot(members: Sequence[Member], now: float) -> Snapshot:
    """The picture at `now`: the first level that can be asked, and who comes after it, busy ones last."""
    ready: list[Member] = []
    probes: list[Member] = []
    wake = inf
    # All checks failing at once: the checker is the suspect, so its word counts for nothing.
    blind = not any(member.healthy for member in members)
    for index, member in enumerate(members):
        member.index = index
        if member.why_not(now, blind=blind) is None:
            (probes if member.probing else ready).append(member)
        else:
            free_at = member.free_at(now)
            if free_at > now:
                wake = min(wake, free_at)
    busy = [m for m in ready if m.status is EndpointStatus.BUSY]
    idle = [m for m in ready if m.status is not EndpointStatus.BUSY] if busy else ready
    levels = sorted({m.endpoint.priority for m in ready})
    groups = [tuple(m for m in idle if m.endpoint.priority == n) for n in levels]
    groups += [tuple(m for m in busy if m.endpoint.priority == n) for n in levels] if busy else []
    first, *reserve = filter(None, groups) if ready else ((),)
    return Snapshot(
        members=tuple(members),
        by_id=MappingProxyType({m.endpoint.id: m for m in members}),
        ready=first,
        reserve=tuple(reserve),
        probes=tuple(probes),
        wake=wake,
        mixed=any(m.endpoint.roles != {Role.LLM} for m in members),
    )
