"""What other processes say about endpoints, and how much of it is believed: hints, not orders.

Thirty-two workers need not each learn that a provider is down. But a peer may be broken (a key that has
expired, a firewall before it alone), or not be a peer at all. So whatever is heard

- takes nobody out who is the last to be asked for what it does (its roles, its tier), and is dropped as
  soon as that would be so;
- takes out at most a part of the pool at one time;
- ends by itself, after 300 seconds at most, and a circuit that it opened is closed by a probe of our own;
- is not believed for a minute when our own probe shows that a circuit was opened for nothing, unless
  whoever said so has taken it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.events import BreakerChanged, EndpointCooling, EndpointEjected, Event
from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said, place_of
from langchain_cluster.pool.members import Member

SPREAD = (
    0.25  # of an open time, added by chance: who saw it probes first, and its word saves the others theirs
)
LEAST = 0.05  # seconds: what would end no later than this after what holds already changes nothing
HURRY = 1.0  # seconds between two probes of one endpoint that are brought forward
DOUBT = 60.0  # seconds for which somebody who was wrong about an endpoint is not believed about it
MOST_DOUBTS = 1024
REASON = "another process said so"


@dataclass(slots=True)
class _Held:
    """What holds only because it was heard: since when, until when, and until when it would without."""

    since: float
    until: float
    own: float


class Heard:
    """A pool's hearsay. All but `saw` is called under the pool's lock.

    Args:
        rng: chance, for the probes of many processes not to come at once.
        max_ejection: seconds an ejection may last; None where nobody is ejected, and nobody is for others.
    """

    def __init__(self, rng: Random, *, max_ejection: float | None) -> None:
        self._rng, self._max_ejection = rng, max_ejection
        self._held: dict[tuple[str, Said], _Held] = {}
        self._sender: dict[str, str] = {}  # of circuits that were opened by hearsay: for whom
        self._doubted: dict[tuple[str, str], float] = {}  # (sender, endpoint) -> until when
        self._hurried: dict[str, float] = {}
        self.untold: deque[CircuitBreaker] = deque()  # have something to tell once the lock is released

    # -- taking it in -------------------------------------------------------------------------------

    def take(
        self, said: Hearsay, members: Sequence[Member], now: float, *, max_percent: float
    ) -> list[Event] | None:
        """Let `members` know; what is to be told of it beside what breakers tell, None if nothing changed."""
        events: list[Event] = []
        changed = False
        for member in _meant(said, members):
            if said.said is Said.CLOSED:
                changed |= self._closed(member, said, now)
            elif self._may(member, said.said, members, now, max_percent):
                changed |= self._out(member, said, now, events)
        return events if changed else None

    def _closed(self, member: Member, said: Hearsay, now: float) -> bool:
        id = member.endpoint.id
        if self._sender.get(id) == said.sender:
            del self._sender[id]  # it has taken back what it said
        if now - self._hurried.get(id, -LONGEST) < HURRY or not member.breaker.probe_soon(now):
            return False
        self._hurried[id] = now
        self._held.pop((id, Said.OPEN), None)
        return True

    def _out(self, member: Member, said: Hearsay, now: float, events: list[Event]) -> bool:
        id, seconds = member.endpoint.id, min(said.seconds, LONGEST)
        if said.said is Said.OPEN:
            if self._doubted.get((said.sender, id), now) > now:
                return False
            own = member.breaker.open_until
            seconds *= 1.0 + SPREAD * self._rng.random()
        elif said.said is Said.COOLING:
            own = member.cooling_until
        else:
            if self._max_ejection is None:
                return False
            own, seconds = member.ejected_until, min(seconds, self._max_ejection)
        held = self._held.get((id, said.said))
        if held is None or held.until <= now:
            held = _Held(now, now, own)
        until = min(now + seconds, held.since + LONGEST)
        if until - max(now, own) < LEAST:
            return False
        if said.said is Said.OPEN:
            closed = member.breaker.state is BreakerState.CLOSED
            if not member.breaker.trip(until - now, now, REASON):
                return False
            until = member.breaker.open_until
            if closed:
                self._sender[id] = said.sender
            self.untold.append(member.breaker)
        elif said.said is Said.COOLING:
            member.cooling_until = until
            events.append(EndpointCooling(now, id, until - now, None, hearsay=True))
        else:
            member.ejected_until = until
            events.append(EndpointEjected(now, id, until - now, REASON, hearsay=True))
        held.until = until
        self._held[id, said.said] = held
        return True

    def _may(
        self, member: Member, said: Said, members: Sequence[Member], now: float, max_percent: float
    ) -> bool:
        """Whether `member` may be taken out by hearsay at all."""
        for key in [key for key, held in self._held.items() if held.until <= now]:
            del self._held[key]
        out = {id for id, _ in self._held} | {member.endpoint.id}
        if len(out) / len(members) * 100.0 > max_percent:
            return False
        others = [m for m in members if m is not member]
        return all(any(kind in _kinds(m) and _takes_calls(m, now) for m in others) for kind in _kinds(member))

    # -- letting it go ------------------------------------------------------------------------------

    def release(self, members: Iterable[Member], now: float) -> None:
        """Forget what was heard of those without whom nobody of their kind would be asked."""
        if not self._held:
            return
        by_id = {m.endpoint.id: m for m in members}
        there = {kind for m in by_id.values() if _takes_calls(m, now) for kind in _kinds(m)}
        for id, said in list(self._held):
            member = by_id.get(id)
            if member is None:
                self.forget(id)
            elif not there.issuperset(_kinds(member)):
                self._let_go(member, said, now)
                if _takes_calls(member, now):
                    there.update(_kinds(member))

    def _let_go(self, member: Member, said: Said, now: float) -> None:
        held = self._held.pop((member.endpoint.id, said))
        if said is Said.OPEN:
            self._sender.pop(member.endpoint.id, None)
            if member.breaker.untrip(now, "it is needed: nobody else is left"):
                self.untold.append(member.breaker)
        elif said is Said.COOLING and member.cooling_until == held.until:
            member.cooling_until = held.own
        elif said is Said.EJECTED and member.ejected_until == held.until:
            member.ejected_until = held.own

    def forget(self, id: str) -> None:
        """The endpoint has left, or is forgiven."""
        for said in Said:
            self._held.pop((id, said), None)
        self._sender.pop(id, None)
        self._hurried.pop(id, None)

    def saw(self, change: BreakerChanged) -> None:
        """What our own circuit makes of it: a probe that is answered shows that somebody was wrong."""
        if change.hearsay or change.state not in (BreakerState.CLOSED, BreakerState.OPEN):
            return
        sender = self._sender.pop(change.endpoint, None)
        if sender is None or change.state != BreakerState.CLOSED or change.before != BreakerState.HALF_OPEN:
            return
        if len(self._doubted) >= MOST_DOUBTS:
            self._doubted.clear()
        self._doubted[sender, change.endpoint] = change.at + DOUBT

    def __repr__(self) -> str:
        return f"<Heard of {len(self._held)} that are out>"


def _meant(said: Hearsay, members: Sequence[Member]) -> Iterator[Member]:
    """Whom it is about: the endpoint first, then those that share its quota."""
    named = [m for m in members if m.endpoint.id == said.endpoint and place_of(m.endpoint) == said.place]
    yield from named
    if said.said is Said.COOLING and said.group is not None:
        yield from (m for m in members if m.endpoint.quota_group == said.group and m not in named)


def _kinds(member: Member) -> set[tuple[Role, str]]:
    return {(role, member.endpoint.tier) for role in member.endpoint.roles}


def _takes_calls(member: Member, now: float) -> bool:
    return member.why_not(now) is None and not member.probing
