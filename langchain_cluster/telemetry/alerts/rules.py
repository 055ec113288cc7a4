"""Rules that look at the pool: an endpoint is down, too few of a kind are left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.model.endpoint import EndpointStatus
from langchain_cluster.pool.members import Member
from langchain_cluster.telemetry.alerts.rule import Rule, share

_BROKEN = (BreakerState.OPEN, BreakerState.HALF_OPEN)


def down(member: Member, now: float) -> str | None:
    """What is wrong with an endpoint, in a clause; None if nothing is.

    What somebody did on purpose is not: a drained endpoint, a weight of 0, a circuit forced open. Nor
    is cooling down: it is well, and asked for a pause. While it is drained its circuit cannot close, so
    that proves nothing.
    """
    if not member.healthy:
        return "fails its health checks"
    if member.status is EndpointStatus.OFFLINE:
        return "is offline"
    if member.status is not EndpointStatus.DRAINING:
        if member.breaker.state in _BROKEN:
            return "has an open circuit"
        if member.ejected_until > now:
            return "is ejected: it does worse than its peers"
    return None


class EndpointDown(Rule):
    """An endpoint fails its checks, is offline or ejected, or its circuit is open.

    Args:
        for_seconds: how long before anybody is told.
        **settings: see `Rule`.
    """

    kind = "endpoint_down"

    def __init__(self, *, for_seconds: float = 30.0, **settings: Any) -> None:
        super().__init__(for_seconds=for_seconds, **settings)
        self._since: dict[Member, float] = {}

    def check(self, now: float, pool: Iterable[Member]) -> list[Alert]:
        """One alert per endpoint that is down."""
        found: dict[Member, float] = {}
        alerts = []
        for member in pool:
            why = down(member, now)
            if why is None or member.weight <= 0:
                continue
            since = found[member] = self._since.get(member, now)
            id, tier = member.endpoint.id, member.endpoint.tier
            alerts.append(self.alert(id, f"endpoint {id} {why}", since, now, endpoint=id, tier=tier))
        self._since = found
        return alerts


class PoolBelow(Rule):
    """Too few endpoints can be asked: of the pool, of a tier, or for a role.

    Endpoints that were drained, or have weight 0, do not count. When none is left it is critical.

    Args:
        share: the part that must be there, above 0 and at most 1.
        **settings: see `Rule`.
    """

    kind = "pool_below"

    def __init__(self, *, share: float = 0.5, for_seconds: float = 10.0, **settings: Any) -> None:
        super().__init__(for_seconds=for_seconds, **settings)
        self.share = _share(share, "share")
        self._since: dict[str, float] = {}

    def check(self, now: float, pool: Iterable[Member]) -> list[Alert]:
        """One alert for the pool, or one per tier and role of it that is short."""
        found: dict[str, float] = {}
        alerts = []
        for subject, tier, members in _groups([m for m in pool if m.in_service]):
            ready = sum(m.why_not(now) is None and not m.probing for m in members)
            if ready >= self.share * len(members):
                continue
            since = found[subject] = self._since.get(subject, now)
            level = self.level if ready else Level.CRITICAL
            text = f"{subject}: {ready} of {len(members)} endpoints can be asked"
            alerts.append(self.alert(subject, text, since, now, level=level, tier=tier))
        self._since = found
        return alerts


_share = share


def _groups(members: list[Member]) -> list[tuple[str, str | None, list[Member]]]:
    """(subject, tier, members) of the pool, and of its tiers and roles where there are several."""
    tiers = sorted({m.endpoint.tier for m in members})
    roles = sorted({role for m in members for role in m.endpoint.roles})
    groups: list[tuple[str, str | None, list[Member]]] = []
    if members:
        groups.append(("pool", tiers[0] if len(tiers) == 1 else None, members))
    if len(tiers) > 1:
        groups += [(f"tier {tier}", tier, [m for m in members if m.endpoint.tier == tier]) for tier in tiers]
    if len(roles) > 1:
        groups += [(f"role {role}", None, [m for m in members if role in m.endpoint.roles]) for role in roles]
    return groups
