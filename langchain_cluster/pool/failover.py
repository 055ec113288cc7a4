"""Standby levels that are called up: which is next, and as what its endpoints count then.

A level is asked when the ones below it cannot carry the load (`levels`). Promoted, it is a part of the
first level, and balanced with it, until it is demoted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from langchain_cluster.pool.members import Member


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
