"""How many calls at once an endpoint bears, found out: a little more while it goes well, less when not.

Additive increase, multiplicative decrease, as TCP does. What counts as "not well" is a refusal, a
timeout, or a first token that takes much longer than it did at the best of the last minutes. Why the
best, and not the average lately? An average follows the very load it should warn of: measured, a limit
that went by one rose to four times what the endpoint bore. And why an average of several against the
best of such averages? One quick answer among thousands is no measure for the next. It begins low, since
what it has only ever seen overloaded looks as if it were always so.
"""

from __future__ import annotations

from math import inf

from langchain_cluster.model.call import Outcome, Verdict
from langchain_cluster.model.policy import ConcurrencyPolicy

TOGETHER = 20  # first tokens that are averaged before they are compared
DIP = 0.25  # what is left of the limit twice a window, until a light load was seen again (as BBR does)
USED = 0.9  # the part of the limit that must be in use for it to grow
_FULL = frozenset({429, 503, 504, 529})


def overloaded(outcome: Outcome) -> bool:
    """Whether an outcome says that too much was asked: a 429, a 503 or a timeout."""
    if outcome.verdict is Verdict.THROTTLED:
        return True
    if outcome.verdict is not Verdict.TRANSIENT:
        return False
    error = outcome.error
    # The providers' SDKs have timeouts of their own: APITimeoutError, ReadTimeout, ...
    return outcome.status in _FULL or isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


class Aimd:
    """The limit of one endpoint. Not locked: its owner is.

    Args:
        policy: where it begins, its bounds and its steps.
        now: the time it starts at, seconds.

    Attributes:
        limit: calls at once, a fraction; the part after the point does not count yet.
    """

    __slots__ = ("_best", "_count", "_dipped", "_half", "_known", "_lowered", "_sum", "limit", "policy")

    def __init__(self, policy: ConcurrencyPolicy, now: float) -> None:
        self.policy = policy
        self.limit = float(policy.initial)
        self._lowered = -inf  # when it was lowered last
        self._known = inf  # up to here nothing has spoken against it
        self._sum, self._count = 0.0, 0  # first tokens since they were compared last
        self._half = now  # when the newer half of the window began
        self._dipped: float | None = None  # since when it is low on purpose
        self._best = (inf, inf)  # least average of the older and of the newer half of the window

    def ended(self, outcome: Outcome, *, started: float, in_flight: int, now: float) -> None:
        """A call that began at `started` has ended; `in_flight` were under way, itself included."""
        if overloaded(outcome) or self._slow(outcome.first_token_seconds, started, now):
            # The others that were under way will say the same: it is one finding, not fifty.
            if started >= self._lowered or now < self._lowered:  # or the clock went back
                self.limit = max(float(self.policy.least), self.limit * self.policy.decrease)
                self._lowered, self._known = now, 0.0
        elif self._dipped is None and outcome.verdict is Verdict.OK and in_flight >= USED * int(self.limit):
            # Up to what is known to go well it doubles with each round of calls: TCP's slow start.
            step = 1.0 if self.limit < self._known else 1.0 / self.limit
            self.limit = min(float(self.policy.most), self.limit + step)

    def _slow(self, first_token: float | None, started: float, now: float) -> bool:
        if first_token is None or not 0.0 <= first_token < inf:
            return False
        if self._dipped is not None and started < self._dipped:
            return False  # of the load before
        self._sum += first_token
        self._count += 1
        if self._count < TOGETHER:
            return False
        average, self._sum, self._count = self._sum / self._count, 0.0, 0
        self._dipped = None
        older, newer = self._best
        newer = min(newer, average)
        if now - self._half >= self.policy.window / 2:
            # Under a steady load the best would be forgotten, and with it what a light load is like.
            older, newer, self._half, self._dipped = newer, inf, now, now
            self._known, self.limit = self.limit, max(float(self.policy.least), self.limit * DIP)
            self._best = (older, newer)
            return False
        self._best = (older, newer)
        return average > self.policy.slow * min(older, newer)

    def __repr__(self) -> str:
        return f"<Aimd at {self.limit:.1f} calls at once>"
