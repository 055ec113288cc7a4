"""A circuit breaker that never sleeps, logs or reads the clock: it is told the time.

The states are Resilience4j's, with four habits of well-known breakers mended:

- A permit is a token of one generation. A result that comes in after the state has changed is
  dropped: a stale success must not close the circuit, a stale failure must not extend the break.
- A half-open probe that is cancelled gives its place back, and one that never reports expires, or
  half-open would last for ever.
- Half-open admits exactly `half_open_probes` at a time, under any concurrency.
- The lock is held for arithmetic, never for the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from threading import Lock

from langchain_cluster.guard.window import Window
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.ports import Now

PROBE_EXPIRES = 60.0  # seconds after which a probe that never reported no longer holds its place


class BreakerState(StrEnum):
    """CLOSED admits and counts; OPEN refuses until `open_until`; HALF_OPEN lets a few try.

    FORCED_OPEN refuses until told otherwise; DISABLED admits and counts nothing; METRICS_ONLY admits
    and counts, but never opens.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    METRICS_ONLY = "metrics_only"


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to make one call. `generation` tells under which state it was given."""

    generation: int
    probe: bool = False
    expires: float = 0.0


Changed = Callable[[BreakerState, BreakerState, str, float], None]
"""(before, after, reason, now); called after the lock is released."""

_ADMITTING = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})


class CircuitBreaker:
    """One endpoint's circuit.

    Args:
        policy: thresholds and times.
        clock: told the time by it only where no `now` is handed in (`force_open()` and the like).
        rng: chance for the jitter of the open time.
        changed: told of every transition.
        state: the one it begins in, and `reset` goes back to.
    """

    __slots__ = (
        "_begins", "_changed", "_clock", "_lock", "_openings", "_permit", "_probes", "_rng", "_row",
        "_succeeded", "_window", "generation", "open_until", "policy", "state",
    )  # fmt: skip

    def __init__(
        self,
        policy: BreakerPolicy,
        clock: Now,
        *,
        rng: Random | None = None,
        changed: Changed | None = None,
        state: BreakerState = BreakerState.CLOSED,
    ) -> None:
        self.policy = policy
        self.state = self._begins = state
        self.open_until = 0.0
        self.generation = 0
        self._clock, self._rng, self._changed = clock, rng or Random(), changed
        self._lock = Lock()
        self._window = Window(policy.window)
        self._row = 0  # failures in a row
        self._openings = 0  # in a row, for the growing open time
        self._probes: list[Permit] = []
        self._succeeded = 0
        self._permit = Permit(0)  # shared by all calls of one generation: nothing is built per call

    def try_acquire(self, now: float) -> Permit | None:
        """Leave to make a call now, or None. Give it back with `record`, whatever happens."""
        if self.state in _ADMITTING:
            return self._permit
        with self._lock:
            before = self.state
            if before is BreakerState.OPEN and now >= self.open_until:
                self._enter(BreakerState.HALF_OPEN)
            permit: Permit | None = None
            if self.state is BreakerState.HALF_OPEN:
                self._probes = [probe for probe in self._probes if probe.expires > now]
                if len(self._probes) + self._succeeded < self.policy.half_open_probes:
                    permit = Permit(self.generation, probe=True, expires=now + PROBE_EXPIRES)
                    self._probes.append(permit)
            elif self.state in _ADMITTING:
                permit = self._permit
            after = self.state
        if after is not before:
            self._tell(before, after, "the open time is over", now)
        return permit

    def record(self, permit: Permit, verdict: Verdict, now: float, seconds: float = 0.0) -> None:
        """Give `permit` back and say how the call ended; `seconds` is how long it took."""
        if self.state is BreakerState.DISABLED:
            return
        with self._lock:
            if permit.generation != self.generation:
                return  # a late result of an older state neither closes nor extends anything
            before, reason = self.state, ""
            if permit.probe:
                reason = self._probed(permit, verdict, now)
            elif verdict in _COUNTED:
                reason = self._counted(verdict, now, seconds)
            after = self.state
        if after is not before:
            self._tell(before, after, reason, now)

    def _probed(self, permit: Permit, verdict: Verdict, now: float) -> str:
        if permit not in self._probes:
            return ""  # it had expired, and its place may be another's by now
        self._probes.remove(permit)
        if verdict is Verdict.OK:
            self._succeeded += 1
            if self._succeeded >= self.policy.half_open_probes:
                self._openings = 0
                self._enter(BreakerState.CLOSED)
                return "the probe was answered"
        elif verdict in _COUNTED:
            self._open(now)
            return "the probe failed"
        return ""  # cancelled, throttled or the caller's fault: says nothing, and frees the place

    def _counted(self, verdict: Verdict, now: float, seconds: float) -> str:
        policy = self.policy
        slow = policy.slow_call_seconds is not None and seconds > policy.slow_call_seconds
        failed = verdict is not Verdict.OK
        self._row = self._row + 1 if failed else 0
        self._window.add(now, failed=failed, slow=slow)
        if not (failed or slow) or self.state is not BreakerState.CLOSED:
            return ""
        reason = self._too_bad(verdict, now)
        if reason:
            self._open(now)
        return reason

    def _too_bad(self, verdict: Verdict, now: float) -> str:
        policy = self.policy
        if verdict is Verdict.CONFIG:
            return "misconfigured"
        if policy.consecutive_failures is not None and self._row >= policy.consecutive_failures:
            return f"{self._row} failures in a row"
        calls, failed, slow = self._window.totals(now)
        if calls < policy.min_calls:
            return ""
        if failed / calls >= policy.failure_rate:
            return f"{failed} of {calls} failed"
        if policy.slow_call_seconds is not None and slow / calls >= policy.slow_call_rate:
            return f"{slow} of {calls} took longer than {policy.slow_call_seconds:g} s"
        return ""

    def _open(self, now: float) -> None:
        # The exponent is bounded: 2.0 ** 1100 would overflow after a very long outage.
        longest = min(self.policy.max_open, self.policy.open_for * 2.0 ** min(self._openings, 60))
        self.open_until = now + longest * (0.5 + 0.5 * self._rng.random())  # equal jitter
        self._openings += 1
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self.generation += 1
        self._permit = Permit(self.generation)
        self._probes, self._succeeded, self._row = [], 0, 0
        if state is not BreakerState.OPEN:
            self.open_until = 0.0
        if state is not BreakerState.HALF_OPEN:
            self._window.clear()

    def _tell(self, before: BreakerState, after: BreakerState, reason: str, now: float) -> None:
        if self._changed is not None:
            self._changed(before, after, reason, now)

    def _set(self, state: BreakerState, reason: str) -> None:
        with self._lock:
            before = self.state
            self._openings = 0
            self._enter(state)
        if before is not state:
            self._tell(before, state, reason, self._clock.now())

    def force_open(self) -> None:
        """Refuse everything until `reset`, `force_close` or `disable`."""
        self._set(BreakerState.FORCED_OPEN, "forced open")

    def force_close(self) -> None:
        """Close now and forget what was counted; it may open again by itself."""
        self._set(BreakerState.CLOSED, "forced closed")

    def reset(self) -> None:
        """Back to the beginning: nothing counted, and closed unless it began otherwise."""
        self._set(self._begins, "reset")

    def disable(self) -> None:
        """Admit everything and count nothing until `reset`."""
        self._set(BreakerState.DISABLED, "disabled")

    def metrics_only(self) -> None:
        """Count, but never open, until `reset`."""
        self._set(BreakerState.METRICS_ONLY, "metrics only")

    def counts(self, now: float) -> tuple[int, int, int]:
        """(calls, failed, slow) within the policy's window."""
        with self._lock:
            return self._window.totals(now)

    def __repr__(self) -> str:
        now = self._clock.now()
        calls, failed, _ = self.counts(now)
        text = f"<CircuitBreaker {self.state.value}"
        if calls:
            text += f", {failed} of {calls} failed"
        if self.state is BreakerState.OPEN:
            text += f", probes in {max(0.0, self.open_until - now):.1f} s"
        return text + ">"


_COUNTED = frozenset({Verdict.OK, Verdict.TRANSIENT, Verdict.CONFIG})
