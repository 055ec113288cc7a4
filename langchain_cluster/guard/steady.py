"""Which of the endpoints that a source no longer names may leave now. It is told the time.

Static stability: a registry that lost half of its servers, restarted empty or cannot make up its mind
must not empty the pool; endpoints that are really dead are found by their breakers. An empty answer has
to be confirmed, no sweep takes more than a share (Eureka's self-preservation is the idea, its 15 % the
figure), and who comes and goes stays until several answers in a row say that it has gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.stability import StabilityPolicy

MOST_ANSWERS = 64  # that the leaving of somebody who comes and goes has to be confirmed by

EMPTY = "the source names nobody, and that is not confirmed"
SHARE = "too many would leave at once"
FLAPS = "it comes and goes"
DRAINED = "it was drained"
BACK = "the source names it again"
CONFIRMED = "further answers did not name it either"


@dataclass(frozen=True, slots=True)
class Decision:
    """About `ids`: held back (they stay though they are not named) or not any more, and why."""

    ids: tuple[str, ...]
    held: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is believed after an answer, what was decided anew, and whether something is held back."""

    endpoints: tuple[Endpoint, ...]
    decisions: tuple[Decision, ...]
    holds: bool


class Steady:
    """What is believed of one source.

    Args:
        policy: None believes everything.
    """

    def __init__(self, policy: StabilityPolicy | None) -> None:
        self._policy = policy
        self._believed: dict[str, Endpoint] = {}
        self._missing: dict[str, int] = {}  # answers in a row that did not name it
        self._held: dict[str, str] = {}  # id -> why
        self._vanished: dict[str, deque[float]] = {}
        self._empties = 0

    def restore(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Begin with a roster of former times."""
        self._believed = {endpoint.id: endpoint for endpoint in endpoints}
        return tuple(self._believed.values())

    def sweep(self, told: Iterable[Endpoint], now: float, drained: Callable[[str], bool]) -> Sweep:
        """Take an answer in.

        Args:
            told: whom the source names.
            drained: whether an id was drained on purpose.
        """
        named = {endpoint.id: endpoint for endpoint in told}
        gone = [id for id in self._believed if id not in named]
        if self._policy is None or not gone:
            held: dict[str, str] = {}
        else:
            held = self._hold(self._policy, named, gone, now, drained)
        self._empties = 0 if named else self._empties + 1
        self._missing = {id: self._missing.get(id, 0) + 1 for id in held}
        decisions = self._decisions(held, named, drained)
        self._believed = {**named, **{id: self._believed[id] for id in held}}
        self._held = held
        return Sweep(tuple(self._believed.values()), decisions, bool(held))

    def _hold(
        self,
        policy: StabilityPolicy,
        named: dict[str, Endpoint],
        gone: list[str],
        now: float,
        drained: Callable[[str], bool],
    ) -> dict[str, str]:
        empty = not named and (policy.confirm_empty is None or self._empties + 1 < policy.confirm_empty)
        leaving = [id for id in gone if not drained(id)]
        held: dict[str, str] = {}
        for id in leaving:
            needed = self._needed(policy, id, now)
            if empty:
                held[id] = EMPTY
            elif self._missing.get(id, 0) + 1 < needed:
                held[id] = FLAPS
        # Who has been missing longest goes first.
        free = sorted((id for id in leaving if id not in held), key=lambda id: -self._missing.get(id, 0))
        allowed = max(1, int(policy.max_shrink * len(self._believed)))
        held |= dict.fromkeys(free[allowed:], SHARE)
        return held

    def _needed(self, policy: StabilityPolicy, id: str, now: float) -> int:
        """Answers in a row that must not name `id` before it leaves. Notes when it vanishes."""
        if policy.flaps is None:
            return 1
        times = self._vanished.setdefault(id, deque(maxlen=policy.flaps + MOST_ANSWERS.bit_length()))
        if id not in self._missing:
            self._forget(now - policy.flap_window)
            times = self._vanished.setdefault(id, times)
            times.append(now)
        more = len(times) - policy.flaps
        return 1 if more <= 0 else min(MOST_ANSWERS, 2**more)

    def _forget(self, before: float) -> None:
        for id in list(self._vanished):
            times = self._vanished[id]
            while times and times[0] < before:
                times.popleft()
            if not times:
                del self._vanished[id]

    def _decisions(
        self, held: dict[str, str], named: dict[str, Endpoint], drained: Callable[[str], bool]
    ) -> tuple[Decision, ...]:
        found: dict[tuple[bool, str], list[str]] = {}
        for id, reason in held.items():
            if self._held.get(id) != reason:
                found.setdefault((True, reason), []).append(id)
        for id in self._held:
            if id not in held:
                reason = BACK if id in named else DRAINED if drained(id) else CONFIRMED
                found.setdefault((False, reason), []).append(id)
        return tuple(Decision(tuple(ids), stays, reason) for (stays, reason), ids in found.items())

    def __repr__(self) -> str:
        return f"<Steady {len(self._believed)} endpoints, {len(self._held)} of them held>"
