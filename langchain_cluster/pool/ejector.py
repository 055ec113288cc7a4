"""Outlier ejection, applied: watches how calls end and how old they grow, and takes endpoints out."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from langchain_cluster.guard.outlier import OLD, Outliers, old_after
from langchain_cluster.model.call import Outcome, Verdict
from langchain_cluster.model.policy import OutlierPolicy
from langchain_cluster.pool.members import Member, Snapshot

_COUNTED = frozenset({Verdict.OK, Verdict.TRANSIENT, Verdict.CONFIG})


class Ejector:
    """A pool's outlier detection.

    Args:
        policy: thresholds and times. rng: chance for the jitter.
        eject: told of each ejection: (member, until, reason, now).
    """

    def __init__(
        self, policy: OutlierPolicy, rng: Random, eject: Callable[[Member, float, str, float], None]
    ) -> None:
        self._outliers = Outliers(policy, rng)
        self._eject = eject

    def forget(self, id: str) -> None:
        """The endpoint has left, or is forgiven."""
        self._outliers.forget(id)

    def set_back(self, now: float) -> None:
        """The clock went back to `now`."""
        self._outliers.set_back(now)

    def ended(self, member: Member, outcome: Outcome, snapshot: Snapshot, now: float) -> None:
        """A call on `member` has ended."""
        if outcome.verdict in _COUNTED:
            failed = outcome.verdict is not Verdict.OK
            reason = self._outliers.note(member.endpoint.id, failed=failed, now=now)
            if reason is not None:
                self._try(member, reason, snapshot, now)

    def hangs(self, member: Member, typical: float, snapshot: Snapshot, now: float) -> bool:
        """Whether `member`, about to be asked, sits on calls that have grown old, and is ejected for it.

        `typical`: seconds a whole answer takes in this pool; 0 while nobody has answered yet, and then
        nobody can tell what is old.
        """
        age = member.oldest(now)
        if age <= OLD or typical <= 0.0:
            return False
        limit = old_after(typical)
        if age <= limit:
            return False
        old = _old(member, limit, now)
        reason = self._outliers.note_old(member.endpoint.id, calls=old, age=age, now=now)
        if reason is None or _as_its_peers(member, old, limit, snapshot, now):
            return False
        return self._try(member, reason, snapshot, now)

    def _try(self, member: Member, reason: str, snapshot: Snapshot, now: float) -> bool:
        until = self._outliers.eject(member.endpoint.id, of=len(snapshot.members), now=now)
        if until is not None:
            self._eject(member, until, reason, now)
        return until is not None


def _old(member: Member, limit: float, now: float) -> int:
    with member.lock:
        return sum(now - started > limit for started in member.starts.values())


def _as_its_peers(member: Member, old: int, limit: float, snapshot: Snapshot, now: float) -> bool:
    """Whether most of its peers have half as many old calls or more: then it is the calls that take long."""
    roles = member.endpoint.roles
    peers = [m for m in snapshot.members if m is not member and m.in_service and m.endpoint.roles == roles]
    alike = sum(_old(peer, limit, now) * 2 >= old for peer in peers)
    return alike * 2 > len(peers)
