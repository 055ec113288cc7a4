"""The health loop: who is due for a check, what the findings mean, who has fallen silent.

Why is the result of a check not simply believed? One slow answer would take an endpoint out, and one
lucky one bring it back, each time with its caches cold. So `fall` failures in a row take it out and
`rise` successes in a row bring it back (HAProxy's words). When everybody fails, the pool believes
nobody: the checker is the suspect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from random import Random

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus
from langchain_cluster.model.health import Health, HealthPolicy
from langchain_cluster.plan.effects import Plan, Probe, Sleep
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import HealthCheck

LOOK = 0.5  # seconds between two looks at who is in the pool, and at who is silent
TIMEOUT = 1.0  # seconds for a check that says nothing about its time
_REASON = 200  # characters of an error's text


def examine(
    check: HealthCheck | None, pool: Pool, policy: HealthPolicy, now: Callable[[], float], rng: Random
) -> Plan[None]:
    """Check, mark and listen for heartbeats, for ever."""
    rota, silence = Rota(policy, limit_of(check, policy), rng), Silence(policy.heartbeat_timeout)
    while True:
        members = pool.snapshot.members
        for id, status in silence.changes(members, now()):
            _tell(pool.set_status, id, status)
        if check is None:
            yield from Sleep(LOOK)
            continue
        rota.follow(members, now())
        for member, health in rota.overdue(now()):
            _heed(pool, rota, silence, member, health)
        begun = rota.begin(now())
        for endpoint, finding in (yield from Probe(check, begun, rota.pause(now()))):
            asked = rota.ended(endpoint)
            if asked is not None:
                _heed(pool, rota, silence, asked, _health(finding))


def _heed(pool: Pool, rota: Rota, silence: Silence, member: Member, health: Health) -> None:
    id = member.endpoint.id
    healthy = rota.judge(member, health)
    if healthy is not None:
        _tell(partial(pool.mark, healthy=healthy, reason=health.reason), id)
    if health.ok and health.load is not None:
        silence.listen(member)
        _tell(pool.heartbeat, id, health.load)
        silence.ours(member)


def _tell(pool: Callable[..., object], *what: object) -> None:
    try:
        pool(*what)
    except ConfigError:
        pass  # it left the pool a moment ago


def _health(finding: Health | BaseException) -> Health:
    if isinstance(finding, Health):
        return finding
    if isinstance(finding, BaseException):
        return Health(False, f"{type(finding).__name__}: {finding}"[:_REASON].rstrip(": "))
    return Health(False, f"the check answered {finding!r}, which is no Health"[:_REASON])


def limit_of(check: HealthCheck | None, policy: HealthPolicy) -> float:
    """Seconds a check may take."""
    if policy.timeout is not None:
        return policy.timeout
    own = getattr(check, "timeout", None)
    return float(own) if isinstance(own, int | float) and own > 0 else TIMEOUT


class _Line:
    """One endpoint's place in the rota."""

    __slots__ = ("asked", "at", "due", "late", "member", "streak", "timer")

    def __init__(self, member: Member, due: float) -> None:
        self.member = member
        self.due = due  # when it is to be checked next
        self.at = due  # when its timer goes off
        self.timer = 0  # which of the timers is its own: the others have been replaced
        self.asked: Endpoint | None = None  # a check of it is under way
        self.late = 0  # how often that check was counted as failed because it took too long
        self.streak = 0  # findings in a row: above 0 good ones, below 0 bad ones


class Rota:
    """Who is checked when, and when that changes our mind. It is told the time.

    Each endpoint has its own even pace from a first check at a random moment. A check that outlasts
    its limit counts as failed and gives its place to others; that endpoint is not asked again before
    the check has come back, and counts as failed once per interval until then.

    Args:
        limit: seconds a check may take.
    """

    def __init__(self, policy: HealthPolicy, limit: float, rng: Random) -> None:
        self._policy, self._limit, self._rng = policy, limit, rng
        self._members: Sequence[Member] = ()
        self._lines: dict[str, _Line] = {}
        self._timers: list[tuple[float, int, _Line]] = []
        self._count = 0
        self._due: deque[_Line] = deque()
        self._under_way = 0

    def follow(self, members: Sequence[Member], now: float) -> None:
        """Take in who has joined and forget who has left."""
        if members is self._members:
            return
        self._members = members
        before, self._lines = self._lines, {}
        for member in members:
            id = member.endpoint.id
            line = before.get(id)
            if line is None or line.member is not member:
                spread = self._rng.uniform(0.0, self._policy.jitter * self._policy.interval)
                line = _Line(member, now + spread)
                self._set(line, line.due)
            else:
                del before[id]
            self._lines[id] = line
        for gone in before.values():
            if gone.asked is not None and not gone.late:
                self._under_way -= 1

    def _set(self, line: _Line, at: float) -> None:
        self._count += 1
        line.at, line.timer = at, self._count
        heappush(self._timers, (at, self._count, line))

    def _here(self, line: _Line) -> bool:
        return self._lines.get(line.member.endpoint.id) is line

    def _rung(self, now: float) -> list[_Line]:
        """Lines whose timer has gone off."""
        rung = []
        while self._timers and self._timers[0][0] <= now:
            _, timer, line = heappop(self._timers)
            if timer == line.timer and self._here(line):
                rung.append(line)
        return rung

    def begin(self, now: float) -> tuple[Endpoint, ...]:
        """Whom to check now: those that have waited longest first, as many as there are places."""
        begun = []
        while self._due and self._under_way < self._policy.concurrency:
            line = self._due.popleft()
            if not self._here(line):
                continue
            line.asked, line.late = line.member.endpoint, 0
            line.due = max(line.due + self._policy.interval, now)
            self._under_way += 1
            self._set(line, now + self._limit)
            begun.append(line.asked)
        return tuple(begun)

    def pause(self, now: float) -> float:
        """Seconds until somebody is due or late, at most `LOOK`."""
        return min(LOOK, max(0.0, self._timers[0][0] - now)) if self._timers else LOOK

    def ended(self, endpoint: Endpoint) -> Member | None:
        """A check has come back; whose finding it is, None when it came too late or for one that left."""
        line = self._lines.get(endpoint.id)
        if line is None or line.asked is not endpoint:
            return None
        late, line.asked, line.late = line.late, None, 0
        self._set(line, line.due)
        if late:
            return None  # it was counted as failed already
        self._under_way -= 1
        return line.member

    def overdue(self, now: float) -> list[tuple[Member, Health]]:
        """The checks that have taken too long by now, as failures. Who is due by now may `begin`."""
        failed = []
        for line in self._rung(now):
            if line.asked is None:
                self._due.append(line)
                continue
            if not line.late:
                self._under_way -= 1
            took = self._limit + line.late * self._policy.interval
            line.late += 1
            self._set(line, line.at + self._policy.interval)
            failed.append((line.member, Health(False, f"no answer within {took:g} s", seconds=took)))
        return failed

    def judge(self, member: Member, health: Health) -> bool | None:
        """Whether `member` is healthy from now on; None when nothing has changed."""
        line = self._lines.get(member.endpoint.id)
        if line is None or line.member is not member:
            return None
        line.streak = max(line.streak, 0) + 1 if health.ok else min(line.streak, 0) - 1
        if member.healthy and line.streak <= -self._policy.fall:
            return False
        if not member.healthy and line.streak >= self._policy.rise:
            return True
        return None

    def __repr__(self) -> str:
        return f"<Rota of {len(self._lines)}, {self._under_way} checks under way, {len(self._due)} wait>"


class Silence:
    """Who has sent heartbeats and sends none any more. It is told the time.

    What our own checks report is no heartbeat: an endpoint that fails them would fall silent, and go
    offline where the pool would rather believe that the checker is wrong. For the same reason nobody
    is turned off when nobody else would be left: the way the heartbeats come is the suspect then.

    Args:
        timeout: seconds; None never turns anybody off.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._heard: dict[Member, float] = {}  # when each that ever sent one did so last
        self._known: dict[Member, float] = {}  # `last_seen` as it was when nobody else had set it
        self._members: Sequence[Member] = ()
        self._off: dict[Member, EndpointStatus] = {}  # whom we turned off, and what they were before

    def listen(self, member: Member) -> None:
        """Note a heartbeat that has come since the last time."""
        seen = member.last_seen
        if seen != self._known.setdefault(member, member.registered_at):
            self._heard[member] = self._known[member] = seen

    def ours(self, member: Member) -> None:
        """The last report was ours, not a heartbeat."""
        self._known[member] = member.last_seen

    def changes(self, members: Sequence[Member], now: float) -> list[tuple[str, EndpointStatus]]:
        """Whose status is to become what."""
        if self._timeout is None:
            return []
        self._forget(members)
        for member in members:
            self.listen(member)
        silent = {member for member, at in self._heard.items() if now - at > self._timeout}
        others = (m for m in members if m not in silent and m.weight > 0)
        if not any(m.status in (EndpointStatus.ONLINE, EndpointStatus.BUSY) for m in others):
            silent = set()
        changes = []
        for member in [member for member in self._off if member not in silent]:
            before = self._off.pop(member)
            if member.status is EndpointStatus.OFFLINE:
                changes.append((member.endpoint.id, before))
        for member in members:
            if member not in silent or member in self._off:
                continue
            if member.status in (EndpointStatus.ONLINE, EndpointStatus.BUSY):
                self._off[member] = member.status
                changes.append((member.endpoint.id, EndpointStatus.OFFLINE))
        return changes

    def _forget(self, members: Sequence[Member]) -> None:
        if members is not self._members:
            self._members, here = members, set(members)
            for table in (self._heard, self._known, self._off):
                for member in [member for member in table if member not in here]:
                    del table[member]

    def __repr__(self) -> str:
        return f"<Silence, {len(self._heard)} send heartbeats, {len(self._off)} turned off>"
