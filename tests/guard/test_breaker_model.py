"""Whatever happens in whatever order, a breaker does what a tiny model of it does.

The model is written for reading: it keeps every call of the current state in a list, knows no buckets,
no locks and no shared permits, and works everything out anew each time it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from langchain_cluster import BreakerPolicy, Verdict
from langchain_cluster.guard import CircuitBreaker, Permit
from langchain_cluster.model.events import BreakerChanged
from langchain_cluster.testing.clock import FakeClock

ADMITS = {"closed", "disabled", "metrics_only"}
COUNTED = {Verdict.OK, Verdict.TRANSIENT, Verdict.CONFIG}


class Most(Random):
    """Chance that always gives the most: equal jitter makes no difference."""

    def random(self) -> float:
        return 1.0


@dataclass
class Call:
    """A call that ended: when, how, and whether it took too long."""

    at: float
    failed: bool
    slow: bool


@dataclass(eq=False)
class Given:
    """A permit as the model sees it: of which turn, and until when a probe holds its place."""

    turn: int
    probe: bool
    until: float = 0.0
    held: bool = True


@dataclass
class Model:
    """What a breaker is."""

    policy: BreakerPolicy
    state: str = "closed"
    turn: int = 0
    openings: int = 0
    open_until: float = 0.0
    calls: list[Call] = field(default_factory=list)
    row: int = 0
    probes: list[Given] = field(default_factory=list)
    answered: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)

    def become(self, state: str) -> None:
        if state != self.state:
            self.told.append((self.state, state))
        self.state, self.turn = state, self.turn + 1
        self.calls, self.row, self.probes, self.answered = [], 0, [], 0
        self.open_until = 0.0

    def open(self, now: float) -> None:
        seconds = min(self.policy.max_open, self.policy.open_for * 2**self.openings)
        self.openings += 1
        self.become("open")
        self.open_until = now + seconds

    def window(self, now: float) -> list[Call]:
        if self.policy.window_calls is not None:
            return self.calls[-self.policy.window_calls :]
        assert self.policy.window is not None
        width = self.policy.window / 10
        return [call for call in self.calls if call.at // width > now // width - 10]

    def acquire(self, now: float) -> Given | None:
        if self.state == "open" and now >= self.open_until:
            self.become("half_open")
        if self.state in ADMITS:
            return Given(self.turn, probe=False)
        if self.state != "half_open":
            return None
        self.probes = [probe for probe in self.probes if now < probe.until]
        if len(self.probes) + self.answered >= self.policy.half_open_probes:
            return None
        probe = Given(self.turn, probe=True, until=now + self.policy.probe_expires)
        self.probes.append(probe)
        return probe

    def record(self, given: Given, verdict: Verdict, now: float, seconds: float) -> None:
        if given.turn != self.turn or self.state == "disabled":
            return
        if given.probe:
            if given not in self.probes:
                return
            self.probes = [probe for probe in self.probes if probe is not given]
            if verdict in COUNTED and verdict is not Verdict.OK:
                self.open(now)
            elif verdict is Verdict.OK:
                self.answered += 1
                if self.answered == self.policy.half_open_probes:
                    self.openings = 0
                    self.become("closed")
        elif verdict in COUNTED:
            failed = verdict is not Verdict.OK
            slow = self.policy.slow_call_seconds is not None and seconds > self.policy.slow_call_seconds
            self.calls.append(Call(now, failed, slow))
            self.row = self.row + 1 if failed else 0
            if self.state == "closed" and (failed or slow) and self.too_bad(verdict, now):
                self.open(now)

    def too_bad(self, verdict: Verdict, now: float) -> bool:
        policy, calls = self.policy, self.window(now)
        if verdict is Verdict.CONFIG or self.row >= (policy.consecutive_failures or 10**9):
            return True
        if len(calls) < policy.min_calls:
            return False
        return (
            sum(call.failed for call in calls) / len(calls) >= policy.failure_rate
            or sum(call.slow for call in calls) / len(calls) >= policy.slow_call_rate
        )

    def by_hand(self, act: str) -> None:
        self.openings = 0
        self.become({"force_close": "closed", "reset": "closed", "disable": "disabled"}.get(act) or {
            "force_open": "forced_open", "metrics_only": "metrics_only"}[act])  # fmt: skip


class AnyOrder(RuleBasedStateMachine):
    """Drives both with the same time, and compares all that can be seen."""

    @initialize(
        probes=st.integers(1, 3),
        row=st.sampled_from([None, 2, 4]),
        calls=st.sampled_from([None, 3, 6]),
        slow=st.sampled_from([None, 1.0]),
    )
    def begin(self, probes: int, row: int | None, calls: int | None, slow: float | None) -> None:
        self.clock = FakeClock(1000.0)
        window = {"window": 10.0} if calls is None else {"window_calls": calls}
        policy = BreakerPolicy(
            consecutive_failures=row, min_calls=3, half_open_probes=probes, slow_call_seconds=slow,
            max_open=60.0, **window,
        )  # fmt: skip
        self.told: list[BreakerChanged] = []
        self.breaker = CircuitBreaker(policy, self.clock, rng=Most(), on_change=self.told.append)
        self.model = Model(policy)
        self.held: list[tuple[Permit, Given]] = []

    @rule(times=st.integers(1, 4))
    def knock(self, times: int) -> None:
        for _ in range(times):
            permit = self.breaker.try_acquire(self.clock.now())
            given = self.model.acquire(self.clock.now())
            assert (permit is None) == (given is None)
            if permit is not None and given is not None:
                assert permit.probe == given.probe
                self.held.append((permit, given))

    @rule(
        which=st.integers(0, 100),
        verdict=st.sampled_from([*Verdict, Verdict.OK, Verdict.TRANSIENT, Verdict.TRANSIENT]),
        seconds=st.sampled_from([0.1, 5.0]),
        again=st.booleans(),
    )
    def report(self, which: int, verdict: Verdict, seconds: float, again: bool) -> None:
        """A call ends; some forget themselves and report a second time, which a probe may not."""
        if not self.held:
            return
        permit, given = self.held[which % len(self.held)]
        if not (again and permit.probe):
            del self.held[which % len(self.held)]
        given.held = False
        self.breaker.record(permit, verdict, self.clock.now(), seconds)
        self.model.record(given, verdict, self.clock.now(), seconds)

    @rule(verdict=st.sampled_from([Verdict.OK, Verdict.TRANSIENT]), times=st.integers(1, 5))
    def call(self, verdict: Verdict, times: int) -> None:
        for _ in range(times):
            self.knock(1)
            if self.held:
                self.report(len(self.held) - 1, verdict, 0.1, False)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 11.0, 61.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(act=st.sampled_from(["force_open", "force_close", "reset", "disable", "metrics_only"]))
    def by_hand(self, act: str) -> None:
        getattr(self.breaker, act)()
        self.model.by_hand(act)

    @invariant()
    def they_are_the_same(self) -> None:
        breaker, model, now = self.breaker, self.model, self.clock.now()
        assert breaker.state == model.state
        assert breaker.generation == model.turn
        assert breaker.open_until == model.open_until
        assert [(change.before, change.state) for change in self.told] == model.told
        calls = model.window(now)
        expected = (len(calls), sum(c.failed for c in calls), sum(c.slow for c in calls))
        assert breaker.counts(now) == expected

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        now, turn = self.clock.now(), self.breaker.generation
        probes = [(p, given) for p, given in self.held if p.probe and given.held]
        live = {id(p) for p, given in probes if p.generation == turn and now < given.until}
        assert len(live) <= self.breaker.policy.half_open_probes


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
