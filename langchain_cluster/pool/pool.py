"""The pool: rosters in, leases out. It knows endpoints and balancing, and nothing of models.

Writers hold one short lock, build the next snapshot and assign it. Readers take the snapshot once per
decision and never lock. Listeners are told after the lock is released.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from threading import RLock

from langchain_cluster.balancer.registry import balancer_named
from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.aimd import Aimd
from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker
from langchain_cluster.guard.limits import RateLimits
from langchain_cluster.guard.throttle import Throttle
from langchain_cluster.model.call import Attempt, Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Endpoint, EndpointState, EndpointStatus, Load
from langchain_cluster.model.events import (
    BreakerChanged,
    CallsMigrated,
    EndpointCooling,
    EndpointEjected,
    EndpointJoined,
    EndpointLeft,
    EndpointReturned,
    EndpointUpdated,
    EndpointWarm,
    Event,
    HealthChanged,
    StandbyChanged,
    StatusChanged,
    TierShifted,
)
from langchain_cluster.model.filters import Condition
from langchain_cluster.model.hearsay import Hearsay
from langchain_cluster.model.policy import (
    BreakerPolicy,
    ConcurrencyPolicy,
    OutlierPolicy,
    QueuePolicy,
    Quota,
    SlowStartPolicy,
    ThrottlePolicy,
)
from langchain_cluster.pool.choose import (
    anybody,
    full,
    groups,
    has_room,
    in_zone,
    left_out,
    nobody,
    room,
    seconds_to_cool,
    suited,
)
from langchain_cluster.pool.ejector import Ejector
from langchain_cluster.pool.failover import next_standby, over_their_part, soon_probed, state_of
from langchain_cluster.pool.hearsay import Heard
from langchain_cluster.pool.line import Line
from langchain_cluster.pool.members import DECAY, LONGEST, Lease, Member, Snapshot
from langchain_cluster.pool.roster import build_snapshot, moves, no_duplicates
from langchain_cluster.ports import Balancer, Now, Prepares, ReadsPrefixes, TakesTurns

COOL_DOWN = 1.0  # seconds, for an endpoint that throttles without saying for how long
LONGEST_COOL_DOWN = 300.0  # seconds: a Retry-After of a year is a mistake of the sender's
# Seconds a failure costs at least; one that took longer costs what it took. More than a busy healthy
# endpoint costs, or one that fails at once would look like the best; not so much that it is kept out
# for long when it is well again.
PENALTY, PENALTY_FACTOR = 1.0, 10.0
# Outcomes of an endpoint that took a call on, whatever it made of it.
_ACCEPTED = frozenset({Verdict.OK, Verdict.CALLER, Verdict.OVERFLOW})

Recall = Callable[[str, str, Callable[[Attempt, float], bool]], int]
"""(endpoint, why, whether an attempt that began at a time would be answered elsewhere) -> how many."""


class Pool:
    """A set of endpoints that hands out leases.

    Args:
        endpoints: who is there at first.
        balancer: a name, or a `Balancer`.
        breaker: each endpoint's circuit breaker; None switches breaking off.
        outlier: when an endpoint that does worse than its peers is taken out; None for never.
        slow_start: how an endpoint that joins later warms up (a policy, or its seconds); None: at once.
        concurrency: finds out how many calls at once each endpoint bears; None: `max_connections` alone.
        quotas: quota group -> what its endpoints may be asked together in a minute.
        throttle: when calls are refused here because most were refused there; None for never.
        queue: how many calls may wait for a place; None for as many as come.
        clock: anything with `now()`, monotonic seconds.
        seed: for every choice left to chance; the same seed and inputs do the same thing again.
        emit: told of every event, after the lock is released.
        recall: calls back what waits for an endpoint: given its id, a reason, and whom to spare.

    Raises:
        ConfigError: two endpoints with one id, an unknown balancer.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        *,
        balancer: str | Balancer = "peak_ewma",
        breaker: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008  (frozen)
        outlier: OutlierPolicy | None = None,
        slow_start: SlowStartPolicy | float | None = None,
        concurrency: ConcurrencyPolicy | None = None,
        quotas: Mapping[str, Quota] | None = None,
        throttle: ThrottlePolicy | None = None,
        queue: QueuePolicy | None = QueuePolicy(),  # noqa: B008  (frozen)
        clock: Now,
        seed: int | None = None,
        emit: Callable[[Event], None] | None = None,
        recall: Recall | None = None,
    ) -> None:
        self.balancer = balancer_named(balancer)
        self.digest_of = self.balancer.digest_of if isinstance(self.balancer, ReadsPrefixes) else None
        decay = getattr(self.balancer, "decay", None)
        self._decay = decay if isinstance(decay, int | float) and decay > 0 else DECAY
        self._breaker_policy = breaker
        if slow_start is not None and not isinstance(slow_start, SlowStartPolicy):
            slow_start = SlowStartPolicy(window=slow_start)
        self._slow_start = slow_start
        self._clock = clock
        self._rng = Random(seed)
        self._emit = emit or (lambda event: None)
        self._recall = recall
        self._ejector = None if outlier is None else Ejector(outlier, Random(self._rng.random()), self._eject)
        self.typical = 0.0  # seconds an answer takes, on average and lately
        self._concurrency = concurrency
        self.rates = RateLimits(quotas)
        self.throttle = None if throttle is None else Throttle(throttle, Random(self._rng.random()))
        self.queue = queue
        self.line = Line(self, None if queue is None else queue.size)
        self._max_ejection = None if outlier is None else outlier.max_ejection
        self._heard: Heard | None = None  # of other processes, once there is something
        self._ejected: set[str] = set()  # who is out, to be told of when it is back
        self._shifts: dict[str, str] = {}  # calls for a tier -> the tier they go to for now
        self._promoted: frozenset[int] = frozenset()  # standby levels that count as the first
        self._news: deque[Event] = deque()  # found under the lock, to be told once it is released
        # Re-entrant: a breaker forced open by a writer reports back while the writer holds the lock.
        self._lock = RLock()
        self.snapshot = build_snapshot((), clock.now())
        self.replace(endpoints)

    # -- leases -------------------------------------------------------------------------------------

    def acquire(
        self,
        request: Request = Request(),  # noqa: B008  (frozen)
        *,
        exclude: Collection[str] = (),
        probe: bool = True,
        penalty: float | None = None,
        now: float | None = None,
    ) -> Lease:
        """A claim on the endpoint that should answer `request`.

        Args:
            exclude: ids that were asked already.
            probe: whether this call may be the one that tries an endpoint whose circuit is open; if
                not, it still is when nobody else will do.
            penalty: seconds a failure costs at least in the latency average; ten times what answers
                take in this pool, and a second, if None.

        Raises:
            NoEndpointAvailable: nobody may be asked; its `retry_after` is the soonest anybody may.
        """
        if now is None:
            now = self._clock.now()
        if isinstance(exclude, str):
            exclude = (exclude,)  # one id, not its letters
        if penalty is None:
            penalty = PENALTY_FACTOR * self.typical
            if penalty < PENALTY:
                penalty = PENALTY
        if self._shifts:
            request = self._shifted(request)
        snapshot = self.snapshot
        if now >= snapshot.wake:
            snapshot = self._publish(now)
        if snapshot.doubtful:
            exclude = left_out(snapshot, request, exclude, now)
        choosy = bool(exclude) or snapshot.mixed or request.particular
        if snapshot.probes and probe:
            # Recovery must not wait for the balancer to like an endpoint that was slow to death.
            for member in suited(snapshot.probes, request, exclude):
                if (lease := self._admit(member, request, now, penalty)) is not None:
                    return lease
        for group in groups(snapshot, self._rng) if snapshot.spill or snapshot.reserve else (snapshot.ready,):
            ready = suited(group, request, exclude) if choosy else group
            if snapshot.zoned and request.zone is not None:
                ready = in_zone(ready, request.zone)
            while ready:
                if ready is snapshot.ready and (turn := snapshot.turn) is not None:
                    member = turn()
                elif ready is snapshot.ready and (choose := snapshot.choose) is not None:
                    member = choose(request, now)
                elif len(ready) == 1:
                    member = ready[0]
                else:
                    member = self.balancer.pick(ready, request, now, self._rng)
                if (lease := self._admit(member, request, now, penalty)) is not None:
                    return lease
                # Full ones go all at once: where most are, to find that out one by one takes long.
                ready = tuple(m for m in ready if m is not member and has_room(m, request, now))
        if not probe:
            return self.acquire(request, exclude=exclude, penalty=penalty, now=now)
        raise nobody(self.snapshot, request, exclude, now)

    def _admit(self, member: Member, request: Request, now: float, penalty: float) -> Lease | None:
        if self._ejector is not None and self._ejector.hangs(member, self.typical, self.snapshot, now):
            return None
        permit = member.breaker.try_acquire(now)
        if permit is None:
            return None
        reserved = None
        if member.rates is not None and (reserved := member.rates.reserve(request, now)) is None:
            member.breaker.record(permit, Verdict.ABANDONED, now)
            return None
        with member.lock:
            if member.in_flight < member.limit:
                member.in_flight += 1
                member.peers.in_flight += 1
                lease = Lease(member, permit, now, penalty, self._settled, reserved)
                member.starts[id(lease)] = now
                return lease
        if reserved is not None:
            reserved.cancel()
        member.breaker.record(permit, Verdict.ABANDONED, now)
        return None

    def _settled(self, member: Member, outcome: Outcome, now: float) -> None:
        if outcome.verdict is Verdict.OK:
            if 0.0 <= outcome.seconds <= LONGEST:
                self.typical += (outcome.seconds - self.typical) * 0.05
        elif outcome.verdict is Verdict.THROTTLED:
            self._throttled(member, outcome, now)
        if self._ejector is not None:
            self._ejector.ended(member, outcome, self.snapshot, now)
        if self.throttle is not None and outcome.verdict in _ACCEPTED:
            self.throttle.accepted(now)
        if self.line.waiting:
            self.line.serve(now)

    def _eject(self, member: Member, until: float, reason: str, now: float) -> None:
        member.ejected_until = until
        self._ejected.add(member.endpoint.id)
        self._refresh(now)
        self._emit(EndpointEjected(now, member.endpoint.id, until - now, reason))
        self._tell_news()

    def _throttled(self, member: Member, outcome: Outcome, now: float) -> None:
        asked = COOL_DOWN if outcome.retry_after is None else outcome.retry_after
        seconds = min(max(0.0, asked), LONGEST_COOL_DOWN)
        group = member.endpoint.quota_group
        for other in self.snapshot.members:
            if other is member or (group is not None and other.endpoint.quota_group == group):
                other.cooling_until = max(other.cooling_until, now + seconds)
        self._refresh(now)
        self._emit(EndpointCooling(now, member.endpoint.id, seconds, group))
        self._tell_news()

    def seconds_to_cool(self, request: Request, *, exclude: Collection[str] = (), now: float) -> float | None:
        """Seconds until the first endpoint that asked to be left alone may be asked; None if none did."""
        return seconds_to_cool(self.snapshot, self._shifted(request), exclude, now)

    def full(self, request: Request, *, exclude: Collection[str] = ()) -> bool:
        """Whether it is only for their limits that nobody can be asked."""
        return full(self.snapshot, self._shifted(request), exclude, self._clock.now())

    def room(self, request: Request, *, exclude: Collection[str] = (), now: float) -> tuple[float, bool]:
        """When time alone may make a place, infinity if it will not; whether a call that ends may."""
        return room(self.snapshot, self._shifted(request), exclude, now)

    def anybody(self, request: Request, *, exclude: Collection[str] = (), now: float) -> bool:
        """Whether somebody may be asked, tried before or not."""
        snapshot = self.snapshot if now < self.snapshot.wake else self._publish(now)
        return anybody(snapshot, self._shifted(request), exclude, now)

    def _shifted(self, request: Request) -> Request:
        to = self._shifts.get(request.tier) if self._shifts and request.tier is not None else None
        return request if to is None else replace(request, tier=to)

    # -- the roster ---------------------------------------------------------------------------------

    def replace(self, endpoints: Iterable[Endpoint]) -> list[Event]:
        """Make the pool exactly `endpoints`; survivors keep their load and history.

        Returns:
            What changed, in order. Raises ConfigError for two endpoints with one id.
        """
        wanted = no_duplicates(endpoints)
        with self._lock:
            events = self._become(wanted)
        self._tell(events)
        return events

    def add(self, endpoint: Endpoint) -> list[Event]:
        """Take `endpoint` in. Raises ConfigError when its id is taken."""
        with self._lock:
            events = self._become(no_duplicates([*(m.endpoint for m in self.snapshot.members), endpoint]))
        self._tell(events)
        return events

    def register(self, endpoint: Endpoint) -> list[Event]:
        """Take `endpoint` in, or take over its new description; it is alive now.

        Raises:
            ConfigError: it is not an Endpoint, or its id belongs to an endpoint at another place.
        """
        (endpoint,) = no_duplicates([endpoint])
        with self._lock:
            known = self.snapshot.by_id.get(endpoint.id)
            if known is not None and not known.endpoint.same_place(endpoint):
                raise ConfigError(
                    f"the id {endpoint.id!r} belongs to another endpoint: deregister it first",
                    key="endpoint.id",
                )
            kept = [endpoint if m is known else m.endpoint for m in self.snapshot.members]
            events = self._become([*kept, endpoint] if known is None else kept)
            self._member(endpoint.id).last_seen = self._clock.now()
        self._tell(events)
        return events

    def deregister(self, id: str) -> list[Event]:
        """The same as `remove`."""
        return self.remove(id)

    def remove(self, id: str) -> list[Event]:
        """Take an endpoint out; its calls in flight finish. Raises ConfigError for an unknown id."""
        with self._lock:
            gone = self._member(id)
            events = self._become(tuple(m.endpoint for m in self.snapshot.members if m is not gone))
        self._tell(events)
        return events

    def _become(self, wanted: Sequence[Endpoint]) -> list[Event]:
        """The next snapshot, and what is to be told of it once the lock is released."""
        now = self._clock.now()
        events: list[Event] = []
        known = self.snapshot.by_id
        members = []
        for endpoint in wanted:
            member = known.get(endpoint.id)
            if member is None or not member.endpoint.same_place(endpoint):
                if member is not None:
                    events.append(EndpointLeft(now, member.endpoint))
                member = Member(endpoint, self._new_breaker(endpoint.id), now, decay=self._decay)
                events.append(EndpointJoined(now, endpoint))
            elif member.endpoint != endpoint:
                events.append(EndpointUpdated(now, endpoint, member.endpoint))
                member.describe(endpoint)
            members.append(member)
        for member in members:
            member.rates = self.rates.of(member.endpoint, member.rates)
            if self._concurrency is not None and member.aimd is None:
                member.aimd = Aimd(self._concurrency, now)
                member.describe(member.endpoint)
        self.rates.keep(wanted, now)
        self._warm_up(members, now)
        kept = {endpoint.id for endpoint in wanted}
        events += [EndpointLeft(now, m.endpoint) for id, m in known.items() if id not in kept]
        before, self.snapshot = self.snapshot, self._picture(members, now)
        if before.members:
            events += moves(before, self.snapshot, now)
        if self._ejector is not None:
            for event in events:
                if isinstance(event, EndpointLeft):
                    self._ejector.forget(event.endpoint.id)
        if self._heard is not None:
            for event in events:
                if isinstance(event, EndpointLeft):
                    self._heard.forget(event.endpoint.id)
        return events

    def _warm_up(self, members: list[Member], now: float) -> None:
        """Who is new to a pool that is mostly not begins with a part of its share."""
        new = [m for m in members if m.registered_at == now and m.endpoint.id not in self.snapshot.by_id]
        if self._slow_start is not None and len(new) * 2 <= len(members):
            for member in new:
                member.warming_since = now

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

    def get(self, id: str) -> Member | None:
        """The member with this id, None if there is none."""
        return self.snapshot.by_id.get(id)

    def list(self, condition: Condition | None = None) -> list[Member]:
        """The members that meet `condition` (an `EndpointFilter` or a combination), in order."""
        now = self._clock.now()
        return [m for m in self.snapshot.members if condition is None or condition.matches(m, now)]

    # -- one endpoint -------------------------------------------------------------------------------

    def set_status(self, id: str, status: EndpointStatus) -> None:
        """Set an endpoint's status. Raises ConfigError for an unknown id, and for what is no status."""
        try:
            status = EndpointStatus(status)
        except ValueError:
            valid = [known.value for known in EndpointStatus]
            raise ConfigError(
                f"unknown status {status!r}", key=f"endpoint {id!r}", valid=valid, got=str(status)
            ) from None
        now = self._clock.now()
        with self._lock:
            member = self._member(id)
            before, member.status = member.status, status
            self._refresh(now)
        if before is not member.status:
            self._emit(StatusChanged(now, id, member.status, before))
        self._tell_news()

    def drain(self, id: str, *, migrate: bool = False) -> int:
        """Give it no new calls; those in flight finish.

        Args:
            migrate: call those back that have delivered nothing yet, to be made elsewhere: where
                somebody else can, and enough of the call's time is left.

        Returns:
            How many were called back. Raises ConfigError for an unknown id.
        """
        self.set_status(id, EndpointStatus.DRAINING)
        return self._migrate(id, "it is drained") if migrate else 0

    def undrain(self, id: str) -> None:
        """Take it back into traffic."""
        self.set_status(id, EndpointStatus.ONLINE)

    def heartbeat(self, id: str, load: Load | None = None) -> None:
        """The endpoint is alive, and this is its load. Raises ConfigError for an unknown id."""
        if load is not None and not isinstance(load, Load):
            raise ConfigError(f"{load!r} is not a Load", key=f"endpoint {id!r}")
        member = self._member(id)
        member.last_seen = self._clock.now()
        if load is not None:
            member.load = load

    def mark(self, id: str, *, healthy: bool, reason: str = "") -> None:
        """What health checks found. An unhealthy endpoint gets no calls, unless all are unhealthy.

        Raises ConfigError for an unknown id.
        """
        now = self._clock.now()
        with self._lock:
            member = self._member(id)
            before, member.healthy = member.healthy, healthy
            if before is not healthy:
                self._refresh(now)
        if before is not healthy:
            self._emit(HealthChanged(now, id, healthy, reason))
            self._tell_news()

    def force_open(self, id: str) -> None:
        """Refuse it every call until `reset` or `force_close`; calls that wait for it are made elsewhere."""
        self._member(id).breaker.force_open()
        self._migrate(id, "its circuit was forced open")

    def force_close(self, id: str) -> None:
        """Close its circuit and forget what was counted."""
        breaker = self._member(id).breaker
        if self._breaker_policy is None:
            breaker.reset()  # closed, it would begin to break
        else:
            breaker.force_close()

    def reset(self, id: str) -> None:
        """Forget everything held against it: circuit, cooling down, latency."""
        member = self._member(id)
        member.breaker.reset()
        with member.lock:
            member.cooling_until = member.ejected_until = member.ewma_seconds = 0.0
        if self._ejector is not None:
            self._ejector.forget(id)
        if self._heard is not None:
            self._heard.forget(id)
        self._publish(self._clock.now())

    def hear(self, said: Hearsay, *, max_percent: float = 50.0) -> bool:
        """Take what another process says for a hint, as far as it can do no harm: see `pool/hearsay.py`.

        Args:
            max_percent: of the pool that may be out for hearsay at one time, 0-100.

        Returns:
            Whether it changed anything.
        """
        now = self._clock.now()
        with self._lock:
            if self._heard is None:
                self._heard = Heard(Random(self._rng.random()), max_ejection=self._max_ejection)
            events = self._heard.take(said, self.snapshot.members, now, max_percent=max_percent)
            if events is not None:
                self._ejected.update(e.endpoint for e in events if isinstance(e, EndpointEjected))
                self._news.extend(events)
                self._refresh(now)
        self._tell_news()
        return events is not None

    def disable_breaker(self, id: str) -> None:
        """Admit every call to it and count nothing, until `enable_breaker` or `reset`."""
        self._member(id).breaker.disable()

    def metrics_only(self, id: str) -> None:
        """Admit every call to it and count, but never open, until `enable_breaker` or `reset`."""
        self._member(id).breaker.metrics_only()

    def enable_breaker(self, id: str) -> None:
        """Let its circuit break by itself again, whatever was done to it by hand, closed and uncounted.

        Where the pool has no breaking, it is disabled again. What `reset` forgets beside the circuit
        stays.
        """
        self._member(id).breaker.reset()

    def promote(self, level: int | None = None) -> int | None:
        """Make a standby level a part of the first, until `demote`.

        Args:
            level: the next one that has somebody who can be asked if None.

        Returns:
            The level, None if there is none. Raises ConfigError when no endpoint has that level.
        """
        now = self._clock.now()
        with self._lock:
            members = self.snapshot.members
            if level is None:
                level = next_standby(members, self._promoted, now)
                if level is None:
                    return None
            standby = sorted({m.endpoint.priority for m in members})[1:]
            if level not in standby:
                raise ConfigError(f"no standby level {level!r}", valid=[str(n) for n in standby])
            changes = level not in self._promoted
            self._promoted |= {level}
            self._refresh(now)
        if changes:
            self._emit(StandbyChanged(now, level, True))
        self._tell_news()
        return level

    def demote(self, level: int) -> bool:
        """Make a promoted level a standby again; whether it was promoted."""
        now = self._clock.now()
        with self._lock:
            changes = level in self._promoted
            self._promoted -= {level}
            self._refresh(now)
        if changes:
            self._emit(StandbyChanged(now, level, False))
        self._tell_news()
        return changes

    @property
    def promoted(self) -> frozenset[int]:
        """Standby levels that count as the first for now."""
        return self._promoted

    def shift_tier(self, tier: str, *, to: str) -> None:
        """Send calls for `tier` to the endpoints of tier `to`, until `unshift_tier`.

        Raises:
            ConfigError: no endpoint of the pool is of tier `to`, or it is the same tier.
        """
        tiers = sorted({m.endpoint.tier for m in self.snapshot.members})
        if to not in tiers or to == tier:
            raise ConfigError(f"calls for tier {tier!r} cannot go to tier {to!r}", valid=tiers, got=to)
        now = self._clock.now()
        with self._lock:
            before, self._shifts = self._shifts.get(tier), self._shifts | {tier: to}
        if before != to:
            self._emit(TierShifted(now, tier, to))

    def unshift_tier(self, tier: str) -> None:
        """Send calls for `tier` to its own endpoints again. Does nothing when they go there."""
        now = self._clock.now()
        with self._lock:
            shifted = tier in self._shifts
            self._shifts = {name: to for name, to in self._shifts.items() if name != tier}
        if shifted:
            self._emit(TierShifted(now, tier, None))

    @property
    def shifts(self) -> dict[str, str]:
        """Tiers whose calls go to another tier for now, and to which."""
        return dict(self._shifts)

    def state(self, id: str) -> EndpointState:
        """Health, circuit, ejection and status as one word. Raises ConfigError for an unknown id."""
        return state_of(self._member(id), self._clock.now())

    def recover(self, id: str) -> None:
        """Take an endpoint back, whatever took it out, and forget what was held against it.

        Its status is online, its circuit closed, and it counts as healthy until a check says otherwise.
        Raises ConfigError for an unknown id.
        """
        self.set_status(id, EndpointStatus.ONLINE)
        self.mark(id, healthy=True, reason="an operator said so")
        self.reset(id)

    def rebalance(self) -> int:
        """Move calls that have delivered nothing from endpoints with more than their part to others.

        After a change of who is there: what waits for an endpoint stays there otherwise. Which endpoint a
        key belongs to is not touched: a ring moves only the keys that must move. More than its part is
        over 1.25 times what its weight makes of the calls in flight.

        Returns:
            How many were called back.
        """
        now = self._clock.now()
        snapshot = self._publish(now)
        moved = 0
        for member, excess in over_their_part(snapshot.ready):
            moved += self._migrate(member.endpoint.id, "the pool is rebalanced", most=excess)
        return moved

    def _migrate(self, id: str, reason: str, most: int | None = None) -> int:
        if self._recall is None:
            return 0
        now = self._clock.now()
        left = [most]

        def may_move(attempt: Attempt, started: float) -> bool:
            # What it has waited for already may be as long again elsewhere: better late than never.
            deadline, age = attempt.limits.deadline, now - started
            in_time = deadline is None or deadline - now > age + self.typical
            moves = left[0] != 0 and in_time and self.anybody(attempt.request, exclude=(id,), now=now)
            if moves and left[0] is not None:
                left[0] -= 1
            return moves

        calls = self._recall(id, reason, may_move)
        if calls:
            self._emit(CallsMigrated(now, id, calls, reason))
        return calls

    # -- inside -------------------------------------------------------------------------------------

    def _member(self, id: str) -> Member:
        member = self.snapshot.by_id.get(id)
        if member is None:
            raise ConfigError(f"no endpoint {id!r} in the pool", valid=list(self.snapshot.by_id), got=id)
        return member

    def _new_breaker(self, id: str) -> CircuitBreaker:
        def changed(change: BreakerChanged) -> None:
            if self._heard is not None:
                self._heard.saw(change)
            snapshot = self._refresh(change.at)
            if change.state == BreakerState.OPEN.value and soon_probed(
                snapshot.members, self._promoted, change.at
            ):
                self._refresh(change.at)
            self._emit(change)
            self._tell_news()

        return CircuitBreaker(
            self._breaker_policy or BreakerPolicy(),
            self._clock,
            name=id,
            rng=Random(self._rng.random()),
            on_change=changed,
            state=BreakerState.CLOSED if self._breaker_policy else BreakerState.DISABLED,
        )

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

    def _refresh(self, now: float) -> Snapshot:
        """Work out anew who may be asked. What that changed is told by `_tell_news`."""
        with self._lock:
            before = self.snapshot
            warming = [m for m in before.members if m.warming_since is not None] if self._slow_start else ()
            self.snapshot = after = self._picture(before.members, now)
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
        while self._heard is not None and self._heard.untold:
            try:
                self._heard.untold.popleft().tell()
            except IndexError:  # another thread tells it
                break
        while self._news:
            try:
                event = self._news.popleft()
            except IndexError:  # another thread tells it
                return
            self._emit(event)

    def _tell(self, events: Iterable[Event]) -> None:
        if self._heard is not None:
            self._tell_news()
        for event in events:
            self._emit(event)
            if type(event) is EndpointLeft:
                self._migrate(event.endpoint.id, "it left the pool")

    def __iter__(self) -> Iterator[Member]:
        return iter(self.snapshot.members)

    def __len__(self) -> int:
        return len(self.snapshot.members)

    def __repr__(self) -> str:
        snapshot = self.snapshot
        return f"<Pool {len(snapshot.members)} endpoints, {len(snapshot.ready)} ready, {self.balancer!r}>"
