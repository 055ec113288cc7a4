"""A circuit breaker that never sleeps, logs or reads the clock of the system: it is told the time.

The states are Resilience4j's, with four habits of well-known breakers mended:

- A permit is a token of one generation. A result that comes in after the state has changed is
  dropped: a stale success must not close the circuit, a stale failure must not extend the break.
- A half-open probe that is cancelled gives its place back, and one that never reports expires, or
  half-open would last for ever.
- Half-open admits exactly `half_open_probes` at a time, under any concurrency.
- The lock is held for arithmetic, never for the call, and never while a listener is told.

An answer to a closed circuit takes no lock: it is one more in a running number, which is taken over
into the window before the window is next looked at. (Where Python runs without its global lock two
answers at one instant may count as one; a failure is never lost.)

Time that is no time (NaN, infinity) counts as the last that was told. A clock that jumps ahead ends
what is due. One that jumps back makes nothing last longer, from then, than it may last at all:
`max_open` for a break, `probe_expires` for a probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from random import Random
from threading import Lock
from types import TracebackType
from typing import ParamSpec, TypeVar

from langchain_cluster.errors import CircuitOpen, ConfigError
from langchain_cluster.guard import around
from langchain_cluster.guard.telling import Listener, Telling
from langchain_cluster.guard.window import window_of
from langchain_cluster.model.call import Verdict
from langchain_cluster.model.events import BreakerChanged
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.ports import Now

P = ParamSpec("P")
R = TypeVar("R")


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


class CircuitBreaker:
    """One circuit: of an endpoint in a pool, or of anything else that may fail.

    Alone it is a decorator (`@breaker`) for functions, coroutines and generators of both kinds, and a
    context manager (`with breaker:`, `async with breaker:`); both raise `CircuitOpen` instead of making
    a call that is refused.

    Args:
        policy: thresholds and times.
        clock: told the time by it where no `now` is handed in.
        name: in events, errors and the repr.
        counts: which exceptions are failures: a class, several, or a predicate. Others give the permit
            back and say nothing. What is no `Exception` (a cancellation, a closed generator, Ctrl-C)
            and a `CircuitOpen` never count; a group counts when one of its exceptions does.
        on_change: told of every transition, in order, after the lock is released.
        rng: chance for the jitter of the open time.
        state: the one it begins in, and `reset` goes back to.

    Raises:
        ConfigError: `policy`, `clock`, `counts` or `on_change` is something else.
    """

    __slots__ = (
        "_answers", "_at", "_begins", "_clock", "_from", "_held", "_latest", "_lock", "_openings", "_permit",
        "_probes", "_rng", "_row", "_slow_after", "_succeeded", "_taken", "_telling", "_timed", "_tripped",
        "_until", "_verdict_of", "_window", "generation", "name", "open_until", "policy", "reason", "state",
    )  # fmt: skip

    def __init__(
        self,
        policy: BreakerPolicy,
        clock: Now,
        *,
        name: str = "",
        counts: around.Counts = Exception,
        on_change: Listener | None = None,
        rng: Random | None = None,
        state: BreakerState = BreakerState.CLOSED,
    ) -> None:
        if not isinstance(policy, BreakerPolicy):
            raise ConfigError(f"{type(policy).__name__} is not a BreakerPolicy", key="policy")
        if not callable(getattr(clock, "now", None)):
            raise ConfigError(f"{type(clock).__name__} has no now() -> seconds", key="clock")
        self.policy, self.name = policy, name
        self.state = self._begins = BreakerState(state)
        self.reason = ""  # of the last transition
        self.open_until = 0.0
        self.generation = 0
        self._clock, self._rng = clock, rng or Random()
        self._verdict_of = around.verdicts(counts)
        self._telling = Telling()
        if on_change is not None:
            self._telling.subscribe(on_change)
        self._lock = Lock()
        self._window = window_of(policy)
        self._slow_after = inf if policy.slow_call_seconds is None else policy.slow_call_seconds
        self._row = 0  # failures in a row
        self._openings = 0  # in a row, for the growing open time
        self._tripped: float | None = None  # by `trip`: its own `open_until` before that, 0 if it was closed
        self._probes: dict[Permit, float] = {}  # under way, and when each loses its place
        self._succeeded = 0
        self._latest = 0.0  # the last time that was one
        self._held: dict[around.Hold, None] = {}  # by `with breaker:`, the latest last
        self._timed = policy.slow_call_seconds is not None
        self._answers = self._taken = 0  # since ever, and how many of them the window has
        self._from, self._until = inf, -inf  # when an answer counts without the lock, together with
        self._at = 0.0  # a call that ended at this time
        # Shared by all calls of one generation, so that nothing is built per call; None: none is given.
        self._permit: Permit | None = Permit(0) if self.state in _ADMITTING else None

    # -- a call ---------------------------------------------------------------------------------------

    def try_acquire(self, now: float) -> Permit | None:
        """Leave to make a call now, or None. Give it back with `record`, whatever happens."""
        permit = self._permit
        if permit is not None:
            return permit
        with self._lock:
            now, before = self._time(now), self.state
            if before is BreakerState.OPEN:
                self.open_until = min(self.open_until, now + self.policy.max_open)
                if now >= self.open_until:
                    self._enter(BreakerState.HALF_OPEN, "the open time is over", now)
            permit = self._probe(now) if self.state is BreakerState.HALF_OPEN else self._permit
        if self.state is not before:
            self._telling.tell()
        return permit

    def set_back(self, now: float) -> None:
        """The clock went back to `now`, and nobody asks who would find out."""
        with self._lock:
            self.open_until = min(self.open_until, now + self.policy.max_open)

    def _probe(self, now: float) -> Permit | None:
        expires = now + self.policy.probe_expires
        for probe, until in list(self._probes.items()):
            if now >= until:
                del self._probes[probe]
            elif until - now > 2.0 * self.policy.probe_expires:  # the clock went back
                self._probes[probe] = expires
        if len(self._probes) + self._succeeded >= self.policy.half_open_probes:
            return None
        permit = Permit(self.generation, probe=True)
        self._probes[permit] = expires
        return permit

    def record(self, permit: Permit, verdict: Verdict, now: float, seconds: float = 0.0) -> None:
        """Give `permit` back and say how the call ended; `seconds` is how long it took."""
        if (
            verdict is Verdict.OK
            and permit is self._permit
            and self._from <= now < self._until
            and seconds <= self._slow_after
        ):
            self._answers += 1
            if self._row:
                self._row = 0
            return
        if self.state is BreakerState.DISABLED:
            return
        with self._lock:
            if permit.generation != self.generation:
                return  # a late result of an older state neither closes nor extends anything
            now, generation = self._time(now), self.generation
            if permit.probe:
                self._probed(permit, verdict, now)
            elif verdict in _COUNTED:
                self._counted(verdict, now, seconds)
            changed = self.generation != generation
        if changed:
            self._telling.tell()

    def _probed(self, permit: Permit, verdict: Verdict, now: float) -> None:
        if self._probes.pop(permit, None) is None:
            return  # it had expired, and its place may be another's by now
        if verdict is Verdict.OK:
            self._succeeded += 1
            if self._succeeded >= self.policy.half_open_probes:
                self._openings = 0
                self._enter(BreakerState.CLOSED, "the probe was answered", now)
        elif verdict in _COUNTED:
            self._open(now, MISCONFIGURED if verdict is Verdict.CONFIG else "the probe failed")
        # Cancelled, throttled or the caller's fault: says nothing, and frees the place.

    def _counted(self, verdict: Verdict, now: float, seconds: float) -> None:
        slow, failed = seconds > self._slow_after, verdict is not Verdict.OK
        self._take_over()
        self._row = self._row + 1 if failed else 0
        self._window.add(now, failed=failed, slow=slow)
        self._at, (self._from, self._until) = now, self._window.bucket(now)
        if (failed or slow) and self.state is BreakerState.CLOSED and (reason := self._too_bad(verdict, now)):
            self._open(now, reason)

    def _take_over(self) -> None:
        """Bring the window up to date with the answers that came in without the lock."""
        answers = self._answers
        if answers != self._taken:
            self._window.add(self._at, times=answers - self._taken)
            self._taken = answers

    def _too_bad(self, verdict: Verdict, now: float) -> str:
        policy = self.policy
        if verdict is Verdict.CONFIG:
            return MISCONFIGURED
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

    # -- transitions, under the lock ------------------------------------------------------------------

    def _open(self, now: float, reason: str = "") -> None:
        # The exponent is bounded: 2.0 ** 1100 would overflow after a very long outage.
        longest = min(self.policy.max_open, self.policy.open_for * 2.0 ** min(self._openings, 60))
        self.open_until = now + longest * (0.5 + 0.5 * self._rng.random())  # equal jitter
        self._openings += 1
        self._enter(BreakerState.OPEN, reason, now)

    def _enter(self, state: BreakerState, reason: str, now: float, *, hearsay: bool = False) -> None:
        before, self.state = self.state, state
        self._tripped = None
        self.generation += 1
        self._from, self._until = inf, -inf
        self._probes, self._succeeded, self._row = {}, 0, 0
        if state is not BreakerState.OPEN:
            self.open_until = 0.0
        if state is not BreakerState.HALF_OPEN:
            self._window.clear()
            self._taken = self._answers
        self._permit = Permit(self.generation) if state in _ADMITTING else None
        if before is not state:
            self.reason = reason
            self._telling.add(BreakerChanged(now, self.name, state.value, before.value, reason, hearsay))

    def _time(self, now: float) -> float:
        if -inf < now < inf:
            self._latest = now
        return self._latest

    # -- by hand --------------------------------------------------------------------------------------

    def _set(self, state: BreakerState, reason: str) -> None:
        now = self._clock.now()
        with self._lock:
            self._openings = 0
            self._enter(state, reason, self._time(now))
        self._telling.tell()

    def force_open(self) -> None:
        """Refuse everything until `reset`, `force_close`, `disable` or `metrics_only`."""
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
        """Admit everything and count, but never open, until `reset`."""
        self._set(BreakerState.METRICS_ONLY, "metrics only")

    # -- by hearsay -----------------------------------------------------------------------------------

    def trip(self, seconds: float, now: float, reason: str) -> bool:
        """Be open for `seconds`, at most `max_open`, for somebody else's experience; then a probe decides.

        An open circuit stays so for at least so long, unless its probe is due. One that is half open, or
        was set by hand, is left as it is.

        Returns:
            Whether that changed anything. Nobody is told of it before `tell`.
        """
        with self._lock:
            now = self._time(now)
            until = now + min(seconds, self.policy.max_open)
            if self.state is BreakerState.CLOSED:
                self._enter(BreakerState.OPEN, reason, now, hearsay=True)
                self._tripped = 0.0
            elif self.state is BreakerState.OPEN and now < self.open_until < until:
                self._tripped = self.open_until if self._tripped is None else self._tripped
            else:
                return False
            self.open_until = until
            return True

    def untrip(self, now: float, reason: str) -> bool:
        """Take back what `trip` did, closed if it was; whether there was anything. Told of by `tell`."""
        with self._lock:
            if self._tripped is None or self.state is not BreakerState.OPEN:
                return False
            if self._tripped == 0.0:
                self._enter(BreakerState.CLOSED, reason, self._time(now), hearsay=True)
            else:
                self.open_until, self._tripped = self._tripped, None
            return True

    def probe_soon(self, now: float) -> bool:
        """Let an open circuit's probe be due now; whether it was not."""
        with self._lock:
            now = self._time(now)
            if self.state is not BreakerState.OPEN or self.open_until <= now:
                return False
            self.open_until = now
            return True

    def probe_by(self, at: float, now: float) -> bool:
        """Let an open circuit's probe be due at `at` at the latest; whether it was later."""
        with self._lock:
            if self.state is not BreakerState.OPEN or self.open_until <= at:
                return False
            self.open_until = max(at, self._time(now))
            return True

    def tell(self) -> None:
        """Tell of what `trip` and `untrip` did; not under a lock."""
        self._telling.tell()

    # -- who hears of it ------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with a `BreakerChanged` at every transition from now on; the result ends that.

        It may use the breaker. What it raises is a `RuntimeWarning`, and fails no call.

        Raises:
            ConfigError: it cannot be called.
        """
        return self._telling.subscribe(listener)

    # -- alone ----------------------------------------------------------------------------------------

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, guarded: it raises `CircuitOpen` when the circuit refuses.

        A generator is guarded from its first step to the end of the iteration, and only the time it
        works itself counts for being slow. A plain function that returns a coroutine or a generator is
        guarded while that runs.
        """
        return around.wrapped(self, function)

    def hold(self) -> around.Hold:
        """Guard one block: `with breaker.hold() as call:`, where `call.failed()` says that it failed.

        The same as `with breaker:`, for blocks that do not end in the order they began in, as those
        of generators that take turns.
        """
        return around.Hold(self)

    __enter__ = around.entered
    __exit__ = around.left

    async def __aenter__(self) -> around.Hold:
        return around.entered(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        around.left(self, kind, error, trace)

    def acquire(self, now: float) -> Permit:
        """Leave to make a call now. Raises CircuitOpen when there is none."""
        permit = self.try_acquire(now)
        if permit is not None:
            return permit
        state, until, reason = self.state, self.open_until, self.reason
        retry_after = max(0.0, until - now) if state is BreakerState.OPEN else None
        if state in _ADMITTING:  # it was closed by another thread a moment ago
            state, retry_after = BreakerState.HALF_OPEN, 0.0
        raise CircuitOpen(state.value, retry_after=retry_after, name=self.name, reason=reason)

    # -- what can be seen -----------------------------------------------------------------------------

    def counts(self, now: float) -> tuple[int, int, int]:
        """(calls, failed, slow) within the policy's window."""
        with self._lock:
            self._take_over()
            return self._window.totals(self._time(now))

    def __repr__(self) -> str:
        now, state = self._clock.now(), self.state
        calls, failed, _ = self.counts(now)
        text = f"<CircuitBreaker {f'{self.name} ' if self.name else ''}{state.value}"
        if calls:
            text += f", {failed} of {calls} failed"
        if state is BreakerState.OPEN:
            text += f", {self.reason}, probes in {max(0.0, self.open_until - now):.1f} s"
        elif state is BreakerState.HALF_OPEN:
            text += f", {len(self._probes)} of {self.policy.half_open_probes} probes under way"
        return text + ">"


MISCONFIGURED = "misconfigured"  # the reason that is one process's own: its key, its model's name
_ADMITTING = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
_COUNTED = frozenset({Verdict.OK, Verdict.TRANSIENT, Verdict.CONFIG})
