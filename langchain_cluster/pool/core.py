"""What a pool knows, how its next picture comes about, and who is told what that changed.

Writers hold one short lock, build the next snapshot and assign it. Readers take the snapshot once per
decision and never lock. Listeners are told after the lock is released, in the order in which things
happened: what is to be told is queued under the lock, and one thread at a time tells it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from threading import Lock, RLock

from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker
from langchain_cluster.guard.limits import RateLimits
from langchain_cluster.guard.throttle import Throttle
from langchain_cluster.model.call import Attempt, Request
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.events import (
    BreakerChanged,
    CallsMigrated,
    EndpointEjected,
    EndpointLeft,
    EndpointReturned,
    EndpointWarm,
    Event,
)
from langchain_cluster.model.policy import (
    BreakerPolicy,
    ConcurrencyPolicy,
    QueuePolicy,
    SlowStartPolicy,
)
from langchain_cluster.pool.choose import (
    anybody,
)
from langchain_cluster.pool.ejector import Ejector
from langchain_cluster.pool.failover import soon_probed
from langchain_cluster.pool.hearsay import Heard
from langchain_cluster.pool.line import Line
from langchain_cluster.pool.members import LONGEST_COOL_DOWN, Member, Snapshot
from langchain_cluster.pool.roster import build_snapshot, moves
from langchain_cluster.pool.views import View, view_of
from langchain_cluster.ports import Balancer, Now, Prepares, TakesTurns

Recall = Callable[[str, str, Callable[[Attempt, float], bool]], int]
"""(endpoint, why, whether an attempt that began at a time would be answered elsewhere) -> how many."""


class Core:
    """The state of a `Pool`; its arguments are described there."""

    balancer: Balancer
    digest_of: Callable[[str, str | None], int] | None  # of what prompts begin with, if it matters
    rates: RateLimits
    throttle: Throttle | None
    queue: QueuePolicy | None
    line: Line
    snapshot: Snapshot
    typical: dict[frozenset[Role], float]  # seconds an answer takes lately, by its endpoint's roles
    _clock: Now
    _rng: Random
    _emit: Callable[[Event], None]
    _recall: Recall | None
    _lock: RLock
    _breaker_policy: BreakerPolicy | None
    _slow_start: SlowStartPolicy | None
    _concurrency: ConcurrencyPolicy | None
    _decay: float  # seconds for an old latency to lose 63 % of its weight
    _ejector: Ejector | None
    _max_ejection: float | None
    _ejected: set[str]  # who is out, to be told of when it is back
    _heard: Heard | None  # of other processes, once there is something
    _shifts: dict[str, str]  # calls for a tier -> the tier they go to for now
    _promoted: frozenset[int]  # standby levels that count as the first
    _news: deque[Event]  # found under the lock, to be told once it is released
    _telling: Lock  # whoever holds it tells the news of all

    def _eject(self, member: Member, until: float, reason: str, now: float) -> None:
        member.ejected_until = until
        self._ejected.add(member.endpoint.id)
        self._refresh(now, EndpointEjected(now, member.endpoint.id, until - now, reason))
        self._tell_news()

    def _member(self, id: str) -> Member:
        member = self.snapshot.by_id.get(id)
        if member is None:
            raise ConfigError(f"no endpoint {id!r} in the pool", valid=list(self.snapshot.by_id), got=id)
        return member

    def _new_breaker(self, id: str) -> CircuitBreaker:
        def changed(change: BreakerChanged) -> None:
            if self._heard is not None:
                self._heard.saw(change)
            snapshot = self._refresh(change.at, change)
            if change.state == BreakerState.OPEN.value and soon_probed(
                snapshot.members, self._promoted, change.at
            ):
                self._refresh(change.at)
            self._tell_news()

        return CircuitBreaker(
            self._breaker_policy or BreakerPolicy(),
            self._clock,
            name=id,
            rng=Random(self._rng.random()),
            on_change=changed,
            state=BreakerState.CLOSED if self._breaker_policy else BreakerState.DISABLED,
        )

    def _picture(self, members: Sequence[Member], now: float) -> Snapshot:
        if self._heard is not None:
            self._heard.release(members, now)
        return build_snapshot(
            members,
            now,
            slow_start=self._slow_start,
            before=self.snapshot,
            prepare=self._prepare,
            promoted=self._promoted,
        )

    def _prepare(
        self, group: tuple[Member, ...]
    ) -> tuple[Callable[[], Member] | None, Callable[[Request, float], Member] | None]:
        if isinstance(self.balancer, TakesTurns):
            return self.balancer.turns(group, self._rng), None
        if isinstance(self.balancer, Prepares):
            return None, self.balancer.prepare(group, self._rng)
        return None, None

    def catch_up(self, now: float | None = None) -> None:
        """Take in, and tell, what time alone has changed; without calls nobody else would look."""
        if now is None:
            now = self._clock.now()
        if now >= self.snapshot.wake or self._ejected:
            self._publish(now)

    def _publish(self, now: float) -> Snapshot:
        """Work out anew who may be asked, and tell what that changed. Not under the lock."""
        snapshot = self._refresh(now)
        self._tell_news()
        return snapshot

    def _refresh(self, now: float, *events: Event) -> Snapshot:
        """Work out anew who may be asked, because of `events`. They, and what that changed, are news."""
        with self._lock:
            before = self.snapshot
            if now < before.since:
                for known in before.members:
                    known.set_back(now, self._max_ejection or LONGEST_COOL_DOWN)
                if self._ejector is not None:
                    self._ejector.set_back(now)
            warming = [m for m in before.members if m.warming_since is not None] if self._slow_start else ()
            self.snapshot = after = self._picture(before.members, now)
            self._news.extend(events)
            self._news.extend(EndpointWarm(now, m.endpoint.id) for m in warming if m.warming_since is None)
            for id in tuple(self._ejected):
                member = after.by_id.get(id)
                if member is None or member.ejected_until <= now:
                    self._ejected.discard(id)
                    if member is not None:
                        self._news.append(EndpointReturned(now, id))
            self._news.extend(moves(before, after, now))
            return after

    def _tell_news(self) -> None:
        """Tell what there is, unless somebody is telling already: they will tell this too."""
        while self._heard is not None and self._heard.untold:
            try:
                self._heard.untold.popleft().tell()
            except IndexError:  # another thread tells it
                break
        # Looked at again after the release: news may have come just before it.
        while self._news and self._telling.acquire(blocking=False):
            try:
                while self._news:
                    self._emit(self._news.popleft())
            finally:
                self._telling.release()

    def _tell(self, events: Iterable[Event]) -> None:
        """Tell the news, which `events` are among, and move calls away from who has left."""
        self._tell_news()
        for event in events:
            if type(event) is EndpointLeft:
                self._migrate(event.endpoint.id, "it left the pool")

    def _migrate(self, id: str, reason: str, most: int | None = None) -> int:
        if self._recall is None:
            return 0
        now = self._clock.now()
        left = [most]

        def may_move(attempt: Attempt, started: float) -> bool:
            # What it has waited for already may be as long again elsewhere: better late than never.
            deadline, age = attempt.limits.deadline, now - started
            in_time = deadline is None or deadline - now > age + self.typical_for(attempt.request.role)
            moves = left[0] != 0 and in_time and self.anybody(attempt.request, exclude=(id,), now=now)
            if moves and left[0] is not None:
                left[0] -= 1
            return moves

        calls = self._recall(id, reason, may_move)
        if calls:
            self._news.append(CallsMigrated(now, id, calls, reason))
            self._tell_news()
        return calls

    def typical_for(self, role: Role) -> float:
        """Seconds an answer takes, on average and lately, of endpoints with this role; 0 if none is known.

        An embedding takes a hundredth of what a model takes that thinks: each has its own average.
        """
        return next((seconds for roles, seconds in self.typical.items() if role in roles), 0.0)

    def anybody(self, request: Request, *, exclude: Collection[str] = (), now: float) -> bool:
        """Whether somebody may be asked, tried before or not."""
        snapshot = self.snapshot if now < self.snapshot.wake else self._publish(now)
        request = self._shifted(request)
        return anybody(snapshot, self._view(snapshot, request, now), request, exclude, now)

    def _view(self, snapshot: Snapshot, request: Request, now: float) -> Snapshot | View:
        """What the request sees of the snapshot, whatever zone it wishes for."""
        if snapshot.mixed or request.particular:
            return view_of(snapshot, request, now, self._prepare)
        return snapshot

    def _shifted(self, request: Request) -> Request:
        to = self._shifts.get(request.tier) if self._shifts and request.tier is not None else None
        return request if to is None else replace(request, tier=to)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.snapshot.members)

    def __len__(self) -> int:
        return len(self.snapshot.members)

    def __repr__(self) -> str:
        snapshot = self.snapshot
        return f"<Pool {len(snapshot.members)} endpoints, {len(snapshot.ready)} ready, {self.balancer!r}>"
