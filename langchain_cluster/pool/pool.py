"""The pool: rosters in, leases out. It knows endpoints and balancing, and nothing of models."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random
from threading import Lock, RLock

from langchain_cluster.balancer.registry import balancer_named
from langchain_cluster.errors import ConfigError
from langchain_cluster.guard.limits import RateLimits
from langchain_cluster.guard.throttle import Throttle
from langchain_cluster.model.call import Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import (
    EndpointCooling,
    Event,
)
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
    full,
    groups,
    has_room,
    left_out,
    nobody,
    room,
    seconds_to_cool,
    without,
)
from langchain_cluster.pool.core import Recall
from langchain_cluster.pool.ejector import Ejector
from langchain_cluster.pool.line import Line
from langchain_cluster.pool.members import DECAY, LONGEST, LONGEST_COOL_DOWN, Lease, Member
from langchain_cluster.pool.operations import Operations
from langchain_cluster.pool.roster import build_snapshot
from langchain_cluster.pool.views import view_of
from langchain_cluster.ports import Balancer, Now, ReadsPrefixes

COOL_DOWN = 1.0  # seconds, for an endpoint that throttles without saying for how long
# Seconds a failure costs at least; one that took longer costs what it took. More than a busy healthy
# endpoint costs, or one that fails at once would look like the best; not so much that it is kept out
# for long when it is well again.
PENALTY, PENALTY_FACTOR = 1.0, 10.0
# Outcomes of an endpoint that took a call on, whatever it made of it.
_ACCEPTED = frozenset({Verdict.OK, Verdict.CALLER, Verdict.OVERFLOW})


class Pool(Operations):
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
        self.typical = {}
        self._concurrency = concurrency
        self.rates = RateLimits(quotas)
        self.throttle = None if throttle is None else Throttle(throttle, Random(self._rng.random()))
        self.queue = queue
        self.line = Line(self, None if queue is None else queue.size)
        self._max_ejection = None if outlier is None else outlier.max_ejection
        self._heard = None
        self._ejected = set()
        self._shifts = {}
        self._promoted = frozenset()
        self._news, self._telling = deque(), Lock()
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
                take in this pool, for endpoints of its roles, and a second, if None.

        Raises:
            NoEndpointAvailable: nobody may be asked; its `retry_after` is the soonest anybody may.
            ConfigError: the balancer, of another package, picked something that is not in the pool.
        """
        if now is None:
            now = self._clock.now()
        if isinstance(exclude, str):
            exclude = (exclude,)  # one id, not its letters
        if self._shifts:
            request = self._shifted(request)
        snapshot = self.snapshot
        if now >= snapshot.wake or now < snapshot.since:
            snapshot = self._publish(now)
        zone = request.zone if snapshot.zoned else None
        if zone is None:
            view = self._view(snapshot, request, now)
        else:
            view = view_of(snapshot, request, now, self._prepare, zone=zone)
        if snapshot.doubtful and (request.tokens is not None or request.reserve):
            exclude = left_out(snapshot, request, exclude, now)
        if view.probes and probe:
            # Recovery must not wait for the balancer to like an endpoint that was slow to death.
            for member in without(view.probes, exclude):
                if (lease := self._admit(member, request, now, penalty)) is not None:
                    return lease
        for group in groups(view, self._rng) if view.spill or view.reserve else (view.ready,):
            ready = without(group, exclude)
            while ready:
                if ready is view.ready and (turn := view.turn) is not None:
                    member = turn()
                elif ready is view.ready and (choose := view.choose) is not None:
                    member = choose(request, now)
                elif len(ready) == 1:
                    member = ready[0]
                else:
                    member = self.balancer.pick(ready, request, now, self._rng)
                    if type(member) is not Member or member is not snapshot.by_id.get(member.endpoint.id):
                        raise ConfigError(
                            f"{self.balancer!r} picked {member!r}, which is none of its candidates",
                            key="balancer.pick",
                        )
                if (lease := self._admit(member, request, now, penalty)) is not None:
                    return lease
                # Full ones go all at once: where most are, to find that out one by one takes long.
                ready = tuple(m for m in ready if m is not member and has_room(m, request, now))
        if not probe:
            return self.acquire(request, exclude=exclude, penalty=penalty, now=now)
        raise nobody(self.snapshot, request, exclude, now)

    def _admit(self, member: Member, request: Request, now: float, penalty: float | None) -> Lease | None:
        typical = self.typical.get(member.endpoint.roles, 0.0)
        if self._ejector is not None and self._ejector.hangs(member, typical, self.snapshot, now):
            return None
        if penalty is None:
            penalty = PENALTY_FACTOR * typical
            if penalty < PENALTY:
                penalty = PENALTY
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
                roles = member.endpoint.roles
                typical = self.typical.get(roles, 0.0)
                self.typical[roles] = typical + (outcome.seconds - typical) * 0.05
        elif outcome.verdict is Verdict.THROTTLED:
            self._throttled(member, outcome, now)
        if self._ejector is not None:
            self._ejector.ended(member, outcome, self.snapshot, now)
        if self.throttle is not None and outcome.verdict in _ACCEPTED:
            self.throttle.accepted(now)
        if self.line.waiting:
            self.line.serve(now)

    def _throttled(self, member: Member, outcome: Outcome, now: float) -> None:
        asked = COOL_DOWN if outcome.retry_after is None else outcome.retry_after
        seconds = min(max(0.0, asked), LONGEST_COOL_DOWN)
        group = member.endpoint.quota_group
        for other in self.snapshot.members:
            if other is member or (group is not None and other.endpoint.quota_group == group):
                other.cooling_until = max(other.cooling_until, now + seconds)
        told = EndpointCooling(
            now, member.endpoint.id, seconds, group, asked=asked if asked > seconds else None
        )
        self._refresh(now, told)
        self._tell_news()

    def seconds_to_cool(self, request: Request, *, exclude: Collection[str] = (), now: float) -> float | None:
        """Seconds until the first endpoint that asked to be left alone may be asked; None if none did."""
        return seconds_to_cool(self.snapshot, self._shifted(request), exclude, now)

    def full(self, request: Request, *, exclude: Collection[str] = ()) -> bool:
        """Whether it is only for their limits that nobody can be asked."""
        snapshot, request, now = self.snapshot, self._shifted(request), self._clock.now()
        return full(snapshot, self._view(snapshot, request, now), request, exclude, now)

    def room(self, request: Request, *, exclude: Collection[str] = (), now: float) -> tuple[float, bool]:
        """When time alone may make a place, infinity if it will not; whether a call that ends may."""
        return room(self.snapshot, self._shifted(request), exclude, now)
