"""An endpoint and its live state, the immutable picture of all of them, and a claim on one of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import ceil, exp, inf
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, Self

from langchain_cluster.guard.aimd import Aimd
from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker, Permit
from langchain_cluster.guard.limits import Rates, Reservation
from langchain_cluster.guard.spending import Held
from langchain_cluster.model.call import Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus, Load
from langchain_cluster.pool.peers import Peers

DECAY = 10.0  # seconds for an old latency to lose 63 % of its weight (Finagle), unless the balancer says
QUICK = 0.001  # seconds: a model that answers sooner, time and again, does no I/O
TRUSTED, MOST_TRUST, DISTRUST = 20, 100, 20  # quick answers to be trusted; a slow one costs so many
BLOCKS = 0.1  # seconds: a model that takes as long once blocks, however quick it was before
LONGEST_COOL_DOWN = 300.0  # seconds: a Retry-After of a year is a mistake of the sender's
LONGEST = 3600.0  # seconds: one call that took longer must not weigh for days
LONG_ANSWER = 100  # tokens: a longer answer counts as its first hundred, or it looks like a slow endpoint
_CLOSED = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})


class Member:
    """An endpoint and what is known of it now. Plain slots, written under `lock`, read without."""

    __slots__ = (
        "aimd", "breaker", "cooling_until", "decay", "ejected_until", "endpoint", "ewma_at", "ewma_seconds",
        "failed", "healthy", "in_flight", "index", "last_seen", "limit", "load", "lock", "peers", "quick",
        "rates", "registered_at", "served", "starts", "status", "tokens", "warming_since", "weight", "well",
    )  # fmt: skip

    def __init__(
        self, endpoint: Endpoint, breaker: CircuitBreaker, now: float, *, decay: float = DECAY
    ) -> None:
        self.lock = Lock()
        self.decay = decay  # seconds for an old latency to lose 63 % of its weight
        self.peers = Peers()
        self.breaker = breaker
        self.index = 0
        self.status = EndpointStatus.ONLINE
        self.healthy = True  # what health checks say; without any it stays so
        self.well = False  # whether the last it did was to answer
        self.load: Load | None = None
        self.registered_at = self.last_seen = now
        self.in_flight = self.served = self.failed = self.tokens = self.quick = 0
        self.ewma_seconds = self.ewma_at = 0.0
        self.cooling_until = self.ejected_until = 0.0
        self.starts: dict[int, float] = {}  # of the calls that wait for an answer, the oldest first
        self.warming_since: float | None = None
        self.rates: Rates | None = None  # what it may be asked in a minute
        self.aimd: Aimd | None = None  # how many calls at once it was found to bear
        self.describe(endpoint)

    def describe(self, endpoint: Endpoint) -> None:
        """Take over a new description; load and history stay."""
        self.endpoint = endpoint
        self.weight = endpoint.weight
        most = endpoint.capacity.max_connections
        self.limit: float = inf if most is None else most
        if self.aimd is not None:
            self.limit = min(self.limit, int(self.aimd.limit))

    def adapt(self, outcome: Outcome, started: float, now: float) -> None:
        """Find out how many calls at once it bears. Called under `lock`, while the call still counts."""
        aimd = self.aimd
        if aimd is None:
            return
        before = int(aimd.limit)
        aimd.ended(outcome, started=started, in_flight=self.in_flight, now=now)
        if int(aimd.limit) != before and self.warming_since is None:
            most = self.endpoint.capacity.max_connections
            self.limit = int(aimd.limit) if most is None else min(most, int(aimd.limit))

    def warm(self, factor: float) -> None:
        """Set its share and its limit to a part of the whole, 0-1; at 1 it is warm."""
        self.describe(self.endpoint)
        self.weight *= factor
        if self.limit < inf:
            self.limit = max(1, ceil(self.limit * factor))
        if factor >= 1.0:
            self.warming_since = None

    def set_back(self, now: float, longest: float) -> None:
        """The clock went back to `now`: nothing lasts longer from then than it may last at all."""
        self.breaker.set_back(now)
        self.cooling_until = min(self.cooling_until, now + LONGEST_COOL_DOWN)
        self.ejected_until = min(self.ejected_until, now + longest)
        if self.warming_since is not None:
            self.warming_since = min(self.warming_since, now)

    @property
    def in_service(self) -> bool:
        """Whether it counts as part of its level: nobody has taken it out on purpose."""
        return self.weight > 0 and self.status is not EndpointStatus.DRAINING

    def oldest(self, now: float) -> float:
        """Seconds since the oldest call began that waits for an answer, or its first token; 0 without any."""
        try:
            return now - next(iter(self.starts.values()))
        except (StopIteration, RuntimeError):  # settled by another thread at this moment
            return 0.0

    @property
    def breaker_state(self) -> BreakerState:
        """State of its circuit breaker."""
        return self.breaker.state

    @property
    def open_until(self) -> float:
        """When its open circuit lets a probe through, seconds on the pool's clock; 0 if not open."""
        return self.breaker.open_until

    def why_not(self, now: float, *, blind: bool = False, panic: bool = False) -> str | None:
        """Why it may not be asked now; None when it may, be it for a probe.

        `blind`: do not believe health checks, because they say that everybody is down.
        `panic`: take the ejected as well, because too few others are left.
        """
        if self.status is EndpointStatus.OFFLINE or self.status is EndpointStatus.DRAINING:
            return str(self.status.value)
        if self.weight <= 0:
            return "weight 0"
        if not self.healthy and not blind:
            return "fails its health checks"
        state = self.breaker.state
        if state is BreakerState.FORCED_OPEN:
            return "forced open"
        if state is BreakerState.OPEN and self.breaker.open_until > now:
            return f"circuit open for {self.breaker.open_until - now:.1f} s more"
        if self.cooling_until > now:
            return f"cooling down for {self.cooling_until - now:.1f} s more"
        if self.ejected_until > now and not panic:
            return f"ejected for {self.ejected_until - now:.1f} s more"
        return None

    def free_at(self, now: float) -> float:
        """When time alone will let it be asked again; infinity when only somebody's doing will."""
        if self.status in (EndpointStatus.OFFLINE, EndpointStatus.DRAINING) or self.weight <= 0:
            return inf
        if self.breaker.state is BreakerState.FORCED_OPEN or not self.healthy:
            return inf
        return max(now, self.breaker.open_until, self.cooling_until, self.ejected_until)

    def in_place(self, now: float) -> bool:
        """Whether its model answers in place, so that no thread needs to be kept for it."""
        return self.quick >= TRUSTED and self.oldest(now) < BLOCKS

    @property
    def taken(self) -> bool:
        """Whether calls under way keep it from being asked: as many as it bears, or its probe."""
        return self.in_flight >= self.limit or self.breaker.state is BreakerState.HALF_OPEN

    def limits(self, now: float) -> dict[str, float]:
        """The limits it has now, by name; of those per minute also what is used: its own, or its group's."""
        found = {} if self.limit == inf else {"connections": self.limit}
        if self.rates is not None:
            for name, (used, limit) in self.rates.counts(now).items():
                found |= {name: limit, f"{name}_used": used}
        return found

    @property
    def probing(self) -> bool:
        """Whether only a probe may go to it."""
        return self.breaker.state not in _CLOSED

    def learn(self, outcome: Outcome, now: float, penalty: float, *, probe: bool) -> None:
        """Take an outcome into the latency average and the counts. Called under `lock`.

        A failure costs at least `penalty` seconds: an endpoint that fails fast must not look fast.
        """
        verdict = outcome.verdict
        if verdict is Verdict.OK:
            self.served += 1
            self.well = True
            seconds = outcome.first_token_seconds
            if seconds is None:
                seconds = outcome.seconds
                if outcome.usage is not None and outcome.usage.output_tokens > LONG_ANSWER:
                    seconds *= LONG_ANSWER / outcome.usage.output_tokens
            if outcome.usage is not None:
                self.tokens += outcome.usage.output_tokens
            if not seconds >= 0.0:
                return  # no length of time: NaN, or taken from a clock that went back
            self.quick = min(self.quick + 1, MOST_TRUST) if seconds < QUICK else max(0, self.quick - DISTRUST)
            if seconds >= BLOCKS:
                self.quick = 0
            if probe:
                self.ewma_seconds = 0.0  # it recovered: the old average is history
        elif verdict is Verdict.TRANSIENT or verdict is Verdict.CONFIG:
            self.failed += 1
            self.well = False
            if outcome.seconds >= BLOCKS:
                self.quick = 0
            seconds = max(self.ewma_seconds, penalty, outcome.seconds)
        elif outcome.outrun_after is not None and outcome.outrun_after > self.ewma_seconds:
            seconds = outcome.outrun_after  # it would have taken longer than this
        else:
            return
        before, seconds = self.ewma_seconds, min(seconds, LONGEST)
        if seconds < before:
            old = exp(min(0.0, self.ewma_at - now) / self.decay)
            seconds = before * old + seconds * (1.0 - old)
        self.ewma_seconds, self.ewma_at = seconds, now

    def __repr__(self) -> str:
        return (
            f"<Member {self.endpoint.id} {self.status.value}, circuit {self.breaker.state.value},"
            f" {self.in_flight} in flight, {self.served} served, {self.failed} failed>"
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everybody in the pool at one moment, and who of them may be asked.

    Args:
        members: all of them, in the order they were given.
        by_id: the same, by endpoint id.
        ready: those that may be asked without reserve; the same tuple while nothing changed.
        reserve: groups of those to ask when nobody in `ready` will do: later levels, then busy ones.
        probes: those whose circuit is open and that are due for a probe, or being probed.
        wake: when time alone changes `ready` or `probes`, seconds.
        since: a time before this is one of a clock that was set back, seconds.
        mixed: whether some member has not the role LLM.
        spill: where the shares of the first groups end, 0-1; () when `ready` carries all the traffic.
        weights: the members' effective weights when this was made.
        turn, choose: what the balancer has prepared for `ready`: who is next whatever is asked, or who
            is to answer a request at a time; None where it has prepared nothing.
        narrowest: the smallest window any member is known or said to have, tokens.
        metered: whether some member may be asked only so many tokens a minute.
        doubtful: whether members have windows, or profiles that deny them something.
        zoned: whether a call's wish for a zone is heard: many enough are there, and no level panics.
        shares: (number, part of the traffic 0-1) of each priority level that has members in service.
        panic: the levels that are used whole, because too few of their members are well.
        able: all that may be asked without reserve, busy ones as well, of every level.
        promoted: standby levels that count as the first.
        views: what kinds of requests see of it, as far as they have been asked for; see `pool/views.py`.
    """

    members: tuple[Member, ...] = ()
    by_id: MappingProxyType[str, Member] = field(default_factory=lambda: MappingProxyType({}))
    ready: tuple[Member, ...] = ()
    reserve: tuple[tuple[Member, ...], ...] = ()
    probes: tuple[Member, ...] = ()
    wake: float = inf
    since: float = field(default=-inf, kw_only=True)
    mixed: bool = False
    spill: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    turn: Callable[[], Member] | None = None
    choose: Callable[[Request, float], Member] | None = None
    narrowest: float = inf
    metered: bool = field(default=False, kw_only=True)
    doubtful: bool = False
    zoned: bool = False
    shares: tuple[tuple[int, float], ...] = ()
    panic: tuple[int, ...] = ()
    able: tuple[Member, ...] = ()
    promoted: frozenset[int] = frozenset()
    views: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)


Settled = Callable[[Member, Outcome, float], None]


class Lease:
    """A claim on one member for one attempt, settled exactly once.

    Leaving a `with` block unsettled settles it as abandoned: the endpoint is not blamed, a half-open
    probe gives its place back.
    """

    __slots__ = (
        "_penalty", "_permit", "_settled_by_pool", "endpoint", "held", "member", "reserved", "settled",
        "started",
    )  # fmt: skip

    def __init__(
        self,
        member: Member,
        permit: Permit,
        now: float,
        penalty: float,
        settled_by_pool: Settled | None,
        reserved: Reservation | None = None,
    ) -> None:
        self.reserved = reserved
        self.held: Held | None = None  # the money it may cost
        self.member, self.endpoint = member, member.endpoint
        self.started, self.settled = now, False
        self._permit, self._penalty, self._settled_by_pool = permit, penalty, settled_by_pool

    @property
    def probe(self) -> bool:
        """Whether this is a half-open circuit's probe."""
        return self._permit.probe

    def settle(self, outcome: Outcome, *, now: float | None = None) -> None:
        """Give the claim back and say how it ended; from any thread, once.

        Raises:
            RuntimeError: it is settled already.
            TypeError: what is given is no Outcome; the lease is held as before.
        """
        if not isinstance(outcome, Outcome):
            raise TypeError(f"{outcome!r} is not an Outcome")
        member = self.member
        if now is None:
            now = member.breaker._clock.now()
        with member.lock:
            if self.settled:
                raise RuntimeError(f"the lease on {self.endpoint.id} is settled already")
            self.settled = True
            if member.aimd is not None:
                member.adapt(outcome, self.started, now)
            member.in_flight -= 1
            member.peers.in_flight -= 1
            member.starts.pop(id(self), None)
            member.learn(outcome, now, self._penalty, probe=self._permit.probe)
        if self.reserved is not None:
            self.reserved.settle(outcome, now)
        if self.held is not None:
            self.held.settle(outcome, now)
        member.breaker.record(self._permit, outcome.verdict, now, outcome.seconds)
        if self._settled_by_pool is not None:
            self._settled_by_pool(member, outcome, now)

    def answering(self) -> None:
        """Its first token is there: however long the rest takes, this call does not hang."""
        with self.member.lock:
            self.member.starts.pop(id(self), None)

    def cancel(self, *, now: float | None = None) -> None:
        """Give the claim back unused: nobody was asked, so nothing counts against a limit. Once."""
        if self.reserved is not None:
            self.reserved.cancel()
        if self.held is not None:
            self.held.cancel()
        self.settle(Outcome.abandoned(), now=now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.settled:
            self.settle(Outcome.abandoned())

    def __repr__(self) -> str:
        return f"<Lease on {self.endpoint.id}, {'settled' if self.settled else 'held'}>"
