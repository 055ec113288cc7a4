"""The tries of one call so far: whom to ask next, when to wait, when to give up, and what to say then."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from langchain_cluster.errors import (
    ClusterError,
    ClusterExhausted,
    DeadlineExceeded,
    NoEndpointAvailable,
    StreamInterrupted,
)
from langchain_cluster.guard.crowd import SPREAD
from langchain_cluster.guard.retry import pause, stops
from langchain_cluster.guard.spending import ROUNDING, Spending
from langchain_cluster.model.call import Answer, Attempt, AttemptReport, Limits, Outcome, Request, Verdict
from langchain_cluster.model.events import AttemptEnded, RetryBudgetEmpty
from langchain_cluster.plan.admit import in_line
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan, Sleep, Started
from langchain_cluster.plan.reserve import reserve
from langchain_cluster.pool.members import Lease

STALE_CONNECTIONS = 10  # one client may hold this many connections of a closed event loop
ROUND_TRIP = 1.0  # seconds: who hangs up later than this had begun to work on the call


@dataclass(slots=True)
class Tries:
    """The tries of one call so far, and what may be done next."""

    request: Request
    cx: Context
    started: float
    source: str
    reports: list[AttemptReport] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    too_small: set[str] = field(default_factory=set)  # context windows this request does not fit in
    stale: int = 0
    hung_up: set[str] = field(default_factory=set)  # who closed a connection that may have been an old one
    hedged: bool = False
    moved: int = 0  # tries that were called back: nobody failed, so they do not count
    queued: float = 0.0  # seconds it has waited for a place
    same: str | None = None  # the endpoint to ask next, because its client had a dead connection
    away: str | None = None  # called back from there a moment ago: elsewhere, if there is room
    refused: bool = False  # it could not be paid for once
    too_dear: frozenset[str] = frozenset()  # who costs more than is left to spend

    def __post_init__(self) -> None:
        # A call pays in when endpoints are to be asked: were hits to pay, they would pay for a storm.
        for budget in (self.cx.budget, self.cx.hedges):
            if budget is not None:
                budget.deposit(self.cx.now())

    @property
    def deadline(self) -> float | None:
        """When the call must be over."""
        timeout = self.cx.policy.timeout
        return None if timeout is None else self.started + timeout

    @property
    def made(self) -> int:
        """Tries that count."""
        return len(self.reports) - self.moved

    @property
    def unfit(self) -> Collection[str]:
        """Who cannot be asked this, tried or not."""
        return self.too_small | self.too_dear if self.too_dear else self.too_small

    def lease(self) -> Plan[Lease]:
        """A claim on an endpoint that was not tried, or on one that was, after a wait."""
        policy, pool = self.cx.policy, self.cx.pool
        while True:
            now = self.cx.now()
            self.check_deadline(now)
            # A probe may fail: not on the last try, unless every try is, or nobody would ever probe.
            last_try = 1 < policy.attempts <= self.made + 1
            if self.cx.spending is not None:
                self.look_at_money(self.cx.spending)
            tried = exclude = (*self.tried, *self.unfit)
            same, self.same = self.same, None
            away, self.away = self.away, None
            if same is not None:
                exclude = tuple(m.endpoint.id for m in pool if m.endpoint.id != same)
            elif away is not None:
                exclude = (*tried, away)
            if not pool.line.waiting or same is not None or not pool.line.holds_up(self.request, exclude):
                try:
                    lease = pool.acquire(self.request, exclude=exclude, probe=not last_try, now=now)
                except NoEndpointAvailable as error:
                    nobody = error
                else:
                    if (
                        lease.reserved is None or (yield from reserve(self.cx, lease, self.deadline))
                    ) and self.pays(lease):
                        return lease
                    continue
                if same is not None or away is not None:
                    continue  # it left, or filled up, a moment ago; or the others did
                if not pool.full(self.request, exclude=exclude):
                    yield from self.nobody(nobody, now)
                    continue
            given = yield from in_line(self, tried, probe=not last_try)
            if isinstance(given, Lease):
                if (
                    given.reserved is None or (yield from reserve(self.cx, given, self.deadline))
                ) and self.pays(given):
                    return given
                continue
            yield from self.nobody(given, self.cx.now())

    def look_at_money(self, spending: Spending) -> None:
        """Rule out whoever costs more than is left; nobody is looked at while nobody was refused."""
        at = self.cx.wall()
        if self.refused or spending.left(self.request, at) <= ROUNDING:
            everybody = (member.endpoint for member in self.cx.pool.snapshot.members)
            self.too_dear = spending.too_dear(self.request, everybody, at)

    def pays(self, lease: Lease) -> bool:
        """Set aside what the attempt may cost. If there is not as much the lease is given back."""
        spending = self.cx.spending
        if spending is None:
            return True
        lease.held = spending.hold(self.request, lease.endpoint, self.cx.wall())
        if lease.held is None:
            self.refused = True
            lease.cancel(now=self.cx.now())
            return False
        return True

    def nobody(self, nobody: ClusterError, now: float) -> Plan[None]:
        """Nobody untried may be asked: wait for somebody who asked to be left alone, or try again."""
        pool, last = self.cx.pool, self.reports[-1] if self.reports else None
        wait = cooled = pool.seconds_to_cool(self.request, exclude=self.unfit, now=now)
        if self.tried and pool.anybody(self.request, exclude=self.unfit, now=now):
            # All others were tried: the same place again, but not at once.
            again = pause(
                self.cx.policy.wait,
                attempt=max(1, self.made),
                error=last.error if last else None,
                elapsed=now - self.started,
            )
            wait = again if wait is None else min(wait, again)
        deadline = self.deadline
        late = wait is None or (deadline is not None and now + wait >= deadline)
        if wait is None or late or (last is not None and self.stops(now, wait)):
            rest = (*self.tried, *self.too_small)
            if self.too_dear and self.cx.spending and pool.anybody(self.request, exclude=rest, now=now):
                nobody = self.cx.spending.exceeded(self.request, now, self.cx.wall())
            raise self.gave_up(nobody) if last else nobody
        self.tried.clear()
        if wait == cooled:
            yield from self.cool_down(wait, now)
        else:
            yield from Sleep(wait)

    def cool_down(self, wait: float, now: float) -> Plan[None]:
        """Wait for an endpoint that asked to be left alone, and come back in turn with all who do."""
        cx, deadline = self.cx, self.deadline
        with cx.crowd.join(now + wait, self.request.priority) as waiter:
            longer = waiter.longer(cx.rng)
            if deadline is not None:
                longer = min(longer, (deadline - now - wait) / 2)
            yield from Sleep(wait + longer)
            while waiter.outranked and (deadline is None or cx.now() + SPREAD < deadline):
                yield from Sleep(SPREAD / 4)

    def attempt(self, lease: Lease, beside: int = 0) -> Attempt:
        """What to ask of the leased endpoint, and how long it may take; `beside` others are under way."""
        policy, member = self.cx.policy, lease.member
        until = self.deadline
        if policy.attempt_timeout is not None:
            own = lease.started + policy.attempt_timeout
            until = own if until is None else min(until, own)
        limits = Limits(
            until, policy.connect_timeout, policy.first_token_timeout, policy.idle_timeout, self.deadline
        )
        in_place = member.in_place(lease.started)
        number = len(self.reports) + beside + 1
        self.cx.asked = number, lease.endpoint.id
        return Attempt(number, lease.endpoint, self.request, limits, in_place)

    def go_on(self, outcome: Outcome, lease: Lease) -> Plan[None]:
        """Return when another attempt may be made; raise when not."""
        if outcome.verdict is Verdict.STALE_LOOP and self.stale < STALE_CONNECTIONS:
            self.stale += 1
            self.same = lease.endpoint.id
            return
        self.report(outcome, lease)
        if outcome.recalled:
            self.moved += 1
            self.away = lease.endpoint.id
            return
        self.tried.add(lease.endpoint.id)
        match outcome.verdict:
            case Verdict.CALLER | Verdict.ABANDONED:
                raise self.told(outcome)
            case Verdict.OVERFLOW:
                self.look_for_larger_window(outcome, lease)
            case _:
                pass
        now = self.cx.now()
        self.check_deadline(now)
        if self.made >= self.cx.policy.attempts:
            raise self.gave_up()
        if self.stops(now):
            raise self.gave_up(note="no further attempt: the policy's stop strategy says so")
        if not self.paid(now):
            raise self.gave_up(note="no further attempt: the retry budget of the cluster is spent")
        yield from ()

    def stops(self, now: float, upcoming: float = 0.0) -> bool:
        """Whether the policy's own strategy wants no further attempt, `upcoming` seconds from now."""
        stop = self.cx.policy.stop
        return stop is not None and stops(
            stop,
            attempt=max(1, self.made),
            error=self.reports[-1].error if self.reports else None,
            elapsed=now - self.started,
            upcoming=upcoming,
        )

    def may_try_again(self) -> bool:
        """Whether the policy and the budget allow one attempt more; it is paid for if so."""
        now = self.cx.now()
        self.check_deadline(now)
        if self.made >= self.cx.policy.attempts or self.stops(now):
            return False
        return self.paid(now)

    def paid(self, now: float) -> bool:
        """Take one further attempt from the budget; whether there was one left."""
        budget = self.cx.budget
        if budget is None or budget.withdraw(now):
            return True
        if budget.news(now):
            self.cx.emit(RetryBudgetEmpty(now, budget.ratio))
        return False

    def look_for_larger_window(self, outcome: Outcome, lease: Lease) -> None:
        """Leave only endpoints known to take more than the one that refused; raise if there are none."""
        window = lease.endpoint.window
        larger = {
            m.endpoint.id
            for m in self.cx.pool.snapshot.members
            if window is not None and (m.endpoint.window or 0) > window
        }
        if not larger:
            raise self.told(outcome)
        self.too_small |= {m.endpoint.id for m in self.cx.pool.snapshot.members} - larger

    def heard(self, outcome: Outcome, lease: Lease) -> Outcome:
        """The outcome, unless it was only a connection that the client had kept too long.

        A server may close a kept connection at any time, and who asks on it in that moment hears nothing
        (RFC 9112, 9.3.1). Of an endpoint that answered just before this says nothing: the same again on a
        new connection, once. Elsewhere would cost its caches, and blame somebody who is well.
        """
        if (
            outcome.hung_up
            and outcome.seconds < ROUND_TRIP
            and lease.member.well
            and lease.endpoint.id not in self.hung_up
        ):
            self.hung_up.add(lease.endpoint.id)
            return replace(outcome, verdict=Verdict.STALE_LOOP)
        return outcome

    def blame(self, outcome: Outcome) -> Outcome:
        """The outcome as far as the endpoint is concerned.

        A call that ran out of its own time, and had less of it than answers take here, says nothing about
        the endpoint: an impatient caller must not open circuits for everybody.
        """
        deadline = self.deadline
        if (
            outcome.verdict is Verdict.TRANSIENT
            and outcome.status is None
            and deadline is not None
            and self.cx.now() >= deadline
            and outcome.seconds < self.cx.pool.typical_for(self.request.role)
        ):
            return Outcome.abandoned(seconds=outcome.seconds)
        return outcome

    def check_deadline(self, now: float) -> None:
        """Raise DeadlineExceeded when the call's time is over."""
        timeout = self.cx.policy.timeout
        if timeout is not None and now >= self.started + timeout:
            cause = self.reports[-1].error if self.reports else None
            raise DeadlineExceeded(timeout, self.reports) from cause

    def report(self, outcome: Outcome, lease: Lease) -> None:
        """Keep an attempt that gave no answer for the error, and tell listeners."""
        reason = outcome.reason or str(outcome.verdict)
        report = AttemptReport(
            len(self.reports) + 1, lease.endpoint.id, outcome.verdict, outcome.seconds, reason, outcome.error
        )
        self.reports.append(report)
        self.cx.emit(AttemptEnded(self.cx.now(), report))

    def told(self, outcome: Outcome, *notes: str) -> BaseException:
        """The endpoint's own error, with a note per attempt."""
        error = outcome.error or RuntimeError(outcome.reason)
        return self.noted(error, *notes)

    def noted(self, error: BaseException, *notes: str) -> BaseException:
        """`error` with a note per attempt, once."""
        known = getattr(error, "__notes__", ())
        for note in (*map(str, self.reports), *notes):
            if note not in known:
                error.add_note(note)
        return error

    def gave_up(self, nobody: ClusterError | None = None, note: str = "") -> BaseException:
        """What the caller gets when no further attempt will be made."""
        notes = [note] if note else []
        if nobody is not None:
            notes.append(f"no further attempt: {nobody}")
        self.cx.gave_up = error = self._given_up(notes)
        return error

    def _given_up(self, notes: list[str]) -> BaseException:
        last = self.reports[-1]
        if len({report.endpoint for report in self.reports}) == 1 and last.error is not None:
            return self.noted(last.error, *notes)
        exhausted = ClusterExhausted(self.reports)
        for text in notes:
            exhausted.add_note(text)
        exhausted.__cause__ = last.error
        return exhausted

    def interrupted(self, outcome: Outcome, lease: Lease, opened: Started) -> BaseException:
        """A stream broke after its first token was handed out: not to be passed for an answer."""
        self.cx.begun = True
        self.report(outcome, lease)
        self.check_deadline(self.cx.now())
        error = StreamInterrupted(
            lease.endpoint.id, outcome.reason or str(outcome.verdict), partial=opened.stream.partial()
        )
        error.__cause__ = outcome.error
        return self.noted(error)

    def answer(self, outcome: Outcome, lease: Lease, *, delivered: bool = False) -> Answer:
        """The call's answer."""
        endpoint, usage = lease.endpoint, outcome.usage
        priced = endpoint.price is not None and usage is not None
        return Answer(
            outcome.value,
            self.source,
            endpoint.id,
            endpoint.tier,
            len(self.reports) + 1,
            self.hedged,
            self.cx.now() - self.started,
            usage.cost(endpoint.price) if priced and usage and endpoint.price else None,
            usage,
            delivered,
            outcome.storable,
            outcome.first_token_seconds,
            queue_seconds=self.queued,
        )
