"""Who of a snapshot may serve requests of one kind: worked out when the kind is first asked for, and kept.

Calls of one agent demand the same every time: its tier, its tags, an endpoint that knows tools. To go
through a thousand endpoints for each of them takes longer than all else about a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from langchain_cluster.balancer.tables import remember
from langchain_cluster.model.call import Request
from langchain_cluster.pool.choose import left_out, suited, zoned
from langchain_cluster.pool.members import Member, Snapshot
from langchain_cluster.pool.roster import Prepare, levels_of

MOST = 128  # kinds kept; of more the oldest are worked out again


class View:
    """A snapshot narrowed to one kind of request; what it has in common with `Snapshot` is called the same.

    Levels share the kind's traffic by how many of those that may serve it are well: that the pool's other
    tiers and roles are is of no use to it. A group that is the snapshot's own is the same tuple, and what
    the balancer has prepared for it holds.
    """

    __slots__ = ("_new", "choose", "probes", "ready", "reserve", "spill", "turn")

    def __init__(self, snapshot: Snapshot, request: Request, zone: str | None, now: float) -> None:
        out = () if _lengthy(request) else left_out(snapshot, request, (), now)
        members = suited(snapshot.members, request, out)
        chosen = frozenset(members)
        self.probes = tuple(m for m in snapshot.probes if m in chosen)
        groups: tuple[tuple[Member, ...], ...] = (snapshot.ready, *snapshot.reserve)
        self.spill = snapshot.spill
        if len(members) < len(snapshot.members):
            able = [m for m in snapshot.able if m in chosen]
            told = levels_of(members, able, snapshot.promoted, now)
            groups, self.spill = told.groups or ((),), told.spill
            zone = None if told.sparse else zone
        if zone is not None:
            groups, self.spill = zoned(groups, self.spill, zone)
        known = {group: group for group in (snapshot.ready, *snapshot.reserve)}
        self.ready, *reserve = (known.get(group, group) for group in groups)
        self.reserve = tuple(reserve)
        whole = self.ready is snapshot.ready
        self.turn: Callable[[], Member] | None = snapshot.turn if whole else None
        self.choose: Callable[[Request, float], Member] | None = snapshot.choose if whole else None
        self._new = not whole and len(self.ready) > 1

    def again(self, prepare: Prepare) -> View:
        """The same, asked for once more: it is worth preparing now."""
        if self._new:
            self._new = False
            self.turn, self.choose = prepare(self.ready)
        return self


def view_of(
    snapshot: Snapshot, request: Request, now: float, prepare: Prepare, *, zone: str | None = None
) -> View:
    """`snapshot` as requests of this kind see it; of each group those in `zone` first."""
    doubted = snapshot.doubtful and not _lengthy(request)
    kind: Hashable = request.role, request.tier, request.model, request.tags, request.needs, zone, doubted
    known: dict[Hashable, View] = snapshot.views
    view = known.get(kind)
    if view is not None:
        return view.again(prepare)
    return remember(known, kind, View(snapshot, request, zone, now), MOST)


def _lengthy(request: Request) -> bool:
    """Whether windows come into it: that is another question for each prompt."""
    return request.tokens is not None or request.reserve > 0
