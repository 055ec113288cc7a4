"""Why refuse a call that nobody has refused yet?

When everybody refuses, to ask costs them time they do not have, and the caller waits for a refusal. So a
client that was refused most of its calls lately refuses a part of the next ones itself: Google's Site
Reliability Engineering, "Handling Overload". The part is capped: uncapped, a client that has seen
nothing but refusals asks so rarely that it had not found out five minutes after an outage of three.
"""

from __future__ import annotations

from random import Random
from threading import Lock

from langchain_cluster.guard.window import Window
from langchain_cluster.model.policy import ThrottlePolicy


class Throttle:
    """What was asked and accepted lately, and whether the next call is refused.

    A critical call is refused with half the chance; a sheddable one as soon as anything is refused:
    for it, accepts count once, not `ratio` times.

    Args:
        rng: chance; the same seed and the same calls do the same thing again.

    Attributes:
        refused: calls that were refused here so far.
    """

    __slots__ = ("_accepted", "_asked", "_lock", "_rng", "policy", "refused")

    def __init__(self, policy: ThrottlePolicy, rng: Random) -> None:
        self.policy, self._rng = policy, rng
        self._lock = Lock()
        self._asked, self._accepted = Window(policy.window), Window(policy.window)
        self.refused = 0

    def chance(self, priority: str, now: float) -> float:
        """The chance that a call of this priority is refused now, 0 to `policy.most`."""
        with self._lock:
            return self._chance(priority, now)

    def _chance(self, priority: str, now: float) -> float:
        asked, accepted = self._asked.totals(now)[0], self._accepted.totals(now)[0]
        ratio = 1.0 if priority == "sheddable" else self.policy.ratio
        chance = min(self.policy.most, max(0.0, (asked - ratio * accepted) / (asked + 1)))
        return chance / 2 if priority == "critical" else chance

    def refuses(self, priority: str, now: float) -> bool:
        """Whether a call is refused. That counts as asked, so the chance stays while all are refused."""
        with self._lock:
            chance = self._chance(priority, now)
            if chance <= 0.0 or self._rng.random() >= chance:
                return False
            self._asked.add(now)
            self.refused += 1
            return True

    def asked(self, now: float) -> None:
        """A call that was let through has ended, and was not just left by its caller."""
        with self._lock:
            self._asked.add(now)

    def accepted(self, now: float) -> None:
        """An endpoint has taken a call on, whatever it then said."""
        with self._lock:
            self._accepted.add(now)

    def __repr__(self) -> str:
        return f"<Throttle, {self.refused} refused>"
