"""What a rule may do about an alert by itself, and how that is taken back.

Why can none of these loop, or make things worse? What a reaction does counts as done on purpose, and no
shipped rule calls that wrong: a drained endpoint is not down, a circuit forced open is not broken. And an
endpoint is only taken out while another of its tier and roles can be asked; when the last of those goes,
it is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.model.alert import Alert, Level, level_of
from langchain_cluster.model.endpoint import EndpointStatus
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.pool import Pool

DRAIN, FORCE_OPEN, PROMOTE, SHIFT = "drain", "force_open", "promote_standby", "shift_tier"
ACTIONS = (DRAIN, FORCE_OPEN, PROMOTE, SHIFT)
_TAKES_CALLS = (EndpointStatus.ONLINE, EndpointStatus.BUSY)


@dataclass(frozen=True, slots=True)
class Reaction:
    """Something to do about an alert: its name, from which level on, and where to for `shift_tier`.

    Raises:
        ConfigError: no such action or level, or a `to` that is missing or has no meaning.
    """

    action: str
    level: Level | None = None
    to: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(
                f"unknown reaction {self.action!r}", key="react", valid=ACTIONS, got=str(self.action)
            )
        if self.level is not None:
            object.__setattr__(self, "level", level_of(self.level, "react.level"))
        if (self.to is None) is (self.action == SHIFT):
            problem = "which tier calls go to" if self.to is None else f"means nothing to {self.action}"
            raise ConfigError(f"{'is missing: ' if self.to is None else ''}{problem}", key="react.to")


def reactions(given: Any) -> tuple[Reaction, ...]:
    """Reactions as written: a name, a `Reaction`, `{"action": "drain", "level": "critical"}`, or several.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(given, str):
        return (Reaction(given),)
    if isinstance(given, Reaction):
        return (given,)
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in ("action", "level", "to")]
        if unknown or "action" not in given:
            problem = f"unknown key {unknown[0]!r}" if unknown else "the action is missing"
            raise ConfigError(problem, key="react", valid=("action", "level", "to"))
        return (Reaction(**given),)
    if isinstance(given, Sequence):
        return tuple(reaction for each in given for reaction in reactions(each))
    raise ConfigError(f"{given!r} is no reaction", key="react", valid=ACTIONS)


@dataclass(frozen=True, slots=True)
class Taken:
    """A reaction that was taken. `undo` takes it back, and says whether there was anything to take back."""

    action: str
    subject: str
    undo: Callable[[], bool]
    out: str | None = None  # the endpoint it took out


def take(reaction: Reaction, alert: Alert, pool: Pool, now: float) -> Taken | str:
    """React; what was done, or why nothing was."""
    if reaction.action in (DRAIN, FORCE_OPEN):
        member = pool.get(alert.endpoint or "")
        if member is None:
            return "it is about no endpoint of the pool"
        return _take_out(reaction.action, member, pool, now)
    if reaction.action == PROMOTE:
        level = pool.promote()
        if level is None:
            return "no standby level can be asked"
        return Taken(PROMOTE, f"level {level}", lambda: pool.demote(level))
    return _shift(alert.tier, reaction.to or "", pool, now)


def _take_out(action: str, member: Member, pool: Pool, now: float) -> Taken | str:
    id, status = member.endpoint.id, member.status
    if status not in _TAKES_CALLS or member.breaker.state is BreakerState.FORCED_OPEN:
        return "it is taken out already"
    if not spared(member, pool, now):
        return "it is the last of its tier and roles that can be asked"
    if action == FORCE_OPEN:
        pool.force_open(id)
    else:
        pool.drain(id)

    def undo() -> bool:
        if pool.get(id) is not member:
            return False
        if action == FORCE_OPEN:
            if member.breaker.state is not BreakerState.FORCED_OPEN:
                return False  # somebody has seen to it
            pool.reset(id)
            return True
        if member.status is not EndpointStatus.DRAINING:
            return False
        if member.probing:
            pool.reset(id)  # drained, its circuit got no probe that could have closed it
        pool.set_status(id, status)
        return True

    return Taken(action, id, undo, out=id)


def spared(member: Member, pool: Pool, now: float) -> bool:
    """Whether for each of its roles another endpoint of its tier can be asked."""
    others = [
        other
        for other in pool
        if other is not member
        and other.endpoint.tier == member.endpoint.tier
        and other.why_not(now) is None
        and not other.probing
    ]
    return all(any(role in other.endpoint.roles for other in others) for role in member.endpoint.roles)


def _shift(tier: str | None, to: str, pool: Pool, now: float) -> Taken | str:
    if tier is None:
        return "it is about no tier"
    if tier in pool.shifts or to in pool.shifts:
        return f"calls for tier {tier if tier in pool.shifts else to} go to another one already"
    if not any(m.endpoint.tier == to and m.why_not(now) is None and not m.probing for m in pool):
        return f"no endpoint of tier {to} can be asked"
    try:
        pool.shift_tier(tier, to=to)
    except ConfigError:
        return f"calls for tier {tier} cannot go to tier {to}"

    def undo() -> bool:
        shifted = pool.shifts.get(tier) == to
        if shifted:
            pool.unshift_tier(tier)
        return shifted

    return Taken(SHIFT, f"tier {tier}", undo)
