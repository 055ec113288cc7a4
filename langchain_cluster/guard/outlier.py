"""Which endpoint does so much worse than its peers that it is taken out for a while?

Envoy's outlier detection and gRPC's A50, tuned for small pools of slow servers. Three rules, any of
which is enough:

- so many failures in a row;
- a failure rate over a window, with enough calls to mean it and at least one peer;
- a success rate more than 1.9 standard deviations below the mean of at least five busy peers, and
  below 95 %. (Alone this rule would eject nobody when three of ten are dead: they widen the deviation
  that they are measured by.)

A breaker asks "does it work?"; this asks "does it work as well as the others?", and bounds how many
may be out at once, so that a fault that everybody shares takes nobody's endpoints away. A throttled
call is no sign of either, and never counted.

A hanging endpoint fails nothing until its first timeout. So calls in flight that have grown old count
as failures here, while they are still in flight: those that wait for an answer, and streams that wait for
their first token. A stream that has begun may take its time, and where most peers have calls as old it is
the calls that take long.
"""

from __future__ import annotations

from math import sqrt
from random import Random
from threading import Lock

from langchain_cluster.guard.window import Window
from langchain_cluster.model.policy import OutlierPolicy

DEVIATIONS, GOOD_ENOUGH = 1.9, 0.95
FEWEST_PEERS, FEWEST_CALLS = 5, 100  # for the rule of deviation
JITTER = 0.1  # of the ejection: what was ejected together must not come back together
OLD = 2.0  # seconds: no call in flight is old before
OLD_FACTOR = 10.0  # times what its peers take for an answer


class _Record:
    __slots__ = ("ejections", "row", "until", "window")

    def __init__(self, seconds: float) -> None:
        self.window = Window(seconds)
        self.row = 0  # failures in a row
        self.ejections = 0
        self.until = 0.0


class Outliers:
    """The records of a pool's endpoints, by id.

    Args:
        policy: thresholds and times.
        rng: chance for the jitter.
    """

    def __init__(self, policy: OutlierPolicy, rng: Random) -> None:
        self.policy, self._rng = policy, rng
        self._lock = Lock()
        self._records: dict[str, _Record] = {}

    def forget(self, id: str) -> None:
        """The endpoint has left."""
        with self._lock:
            self._records.pop(id, None)

    def set_back(self, now: float) -> None:
        """The clock went back to `now`: nobody is out for longer, from then, than he may be at all."""
        with self._lock:
            for record in self._records.values():
                record.until = min(record.until, now + self.policy.max_ejection)

    def note(self, id: str, *, failed: bool, now: float) -> str | None:
        """Count a call's end; why the endpoint should be ejected, None if it should not."""
        with self._lock:
            record = self._records.get(id)
            if record is None:
                record = self._records[id] = _Record(self.policy.window)
            record.window.add(now, failed=failed)
            if not failed:
                record.row = 0
                return None
            record.row += 1
            return self._reason(id, record, now)

    def note_old(self, id: str, *, calls: int, age: float, now: float) -> str | None:
        """`calls` in flight are too old, the oldest by `age` seconds; why to eject, or None."""
        policy = self.policy
        with self._lock:
            record = self._records.get(id)
            row, ended, failed = 0, 0, 0
            if record is not None:
                row, (ended, failed, _) = record.row, record.window.totals(now)
            peers = len(self._records) - (record is not None)
        in_a_row = policy.consecutive_failures is not None and calls + row >= policy.consecutive_failures
        every = ended + calls
        most = every >= policy.min_calls and peers and (failed + calls) / every >= policy.failure_rate
        return f"{calls} calls in flight, the oldest for {age:.1f} s" if in_a_row or most else None

    def _reason(self, id: str, record: _Record, now: float) -> str | None:
        policy = self.policy
        if policy.consecutive_failures is not None and record.row >= policy.consecutive_failures:
            return f"{record.row} failures in a row"
        calls, failed, _ = record.window.totals(now)
        if calls >= policy.min_calls and len(self._records) > 1 and failed / calls >= policy.failure_rate:
            return f"{failed} of {calls} calls failed"
        return self._deviation(id, now)

    def _deviation(self, id: str, now: float) -> str | None:
        totals = {other: record.window.totals(now) for other, record in self._records.items()}
        rates = {
            other: 1 - failed / calls for other, (calls, failed, _) in totals.items() if calls >= FEWEST_CALLS
        }
        if len(rates) < FEWEST_PEERS or id not in rates:
            return None
        mean = sum(rates.values()) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        if rates[id] < min(GOOD_ENOUGH, mean - DEVIATIONS * deviation):
            return f"{rates[id]:.0%} of its calls succeed, {mean:.0%} of all"
        return None

    def eject(self, id: str, *, of: int, now: float) -> float | None:
        """Eject an endpoint from a pool of `of`; until when, or None when that would be too many.

        Counted after the ejection; the last endpoint is never ejected.
        """
        policy = self.policy
        with self._lock:
            out = sum(record.until > now for other, record in self._records.items() if other != id)
            if out + 1 >= of or (out + 1) / of * 100.0 > policy.max_percent:
                return None
            record = self._records.setdefault(id, _Record(policy.window))
            if record.until > now:
                return None  # it is out already
            # Each ejection is longer than the last; time spent in, without trouble, is taken off again.
            served = int((now - record.until) // policy.ejection) if record.ejections else 0
            record.ejections = max(0, record.ejections - served) + 1
            seconds = min(policy.max_ejection, policy.ejection * record.ejections)
            seconds *= 1.0 + JITTER * (2.0 * self._rng.random() - 1.0)
            record.until = now + seconds
            record.row = 0
            record.window.clear()
            return record.until

    def __repr__(self) -> str:
        return f"<Outliers {len(self._records)} endpoints watched>"


def old_after(typical: float) -> float:
    """Seconds after which a call in flight is old, where peers take `typical` seconds for an answer."""
    return max(OLD, OLD_FACTOR * typical)
