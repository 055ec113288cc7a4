"""Between a pool and its peers: which events are worth telling, and what to do with what is told.

Told are a circuit that opens or closes by itself, a cooling down and an ejection. Not told is

- what was only heard, so that nothing goes round in circles;
- a circuit that opens for a misconfiguration: the key and the model's name are this process's own;
- what a person does by hand (`force_open`, `drain`): that has no end, and a hint must have one. To take an
  endpoint from everybody, take it out of the registry, or set its weight to 0 there.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from langchain_cluster.guard.breaker import MISCONFIGURED, BreakerState
from langchain_cluster.model.events import (
    BreakerChanged,
    EndpointCooling,
    EndpointEjected,
    EndpointJoined,
    Event,
    SharingLost,
    SharingRestored,
)
from langchain_cluster.model.hearsay import LONGEST, Hearsay, Said, place_of
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import Channel, Sharing

EARLY = 256  # things heard of endpoints that have not joined yet
_BY_ITSELF = (BreakerState.OPEN, BreakerState.HALF_OPEN)


class Exchange:
    """One pool's part in a sharing.

    Args:
        pool: whose events are told, and which is let know.
        sharing: where.
        now: monotonic seconds.
        emit: told when nothing can be shared, and when it can be again.
    """

    def __init__(
        self, pool: Pool, sharing: Sharing, now: Callable[[], float], emit: Callable[[Event], None]
    ) -> None:
        self._pool, self._sharing, self._now, self._emit = pool, sharing, now, emit
        self._channel: Channel | None = None
        self._lost_at: float | None = None
        self._lock = Lock()
        self._early: dict[tuple[str, Said], tuple[Hearsay, float]] = {}  # and until when it holds

    def start(self) -> None:
        """Begin to tell and to hear."""
        if self._channel is None:
            self._channel = self._sharing.join(self.hear, lost=self._lost, restored=self._restored)

    def stop(self) -> None:
        """Neither tell nor hear any more."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        self._lost_at = None

    def forked(self) -> None:
        """In the child of a fork, where the thread is not: it is the parent's line, and is left alone."""
        self._channel, self._lost_at, self._lock = None, None, Lock()

    # -- out ----------------------------------------------------------------------------------------

    def told(self, event: Event) -> None:
        """Something has happened here: tell the others, if it is for them. Never blocks."""
        kind = type(event)
        if kind is EndpointJoined:
            if self._early:
                self._joined(event.endpoint.id)  # type: ignore[attr-defined]
        elif kind in _TOLD and self._channel is not None:
            said = worth_telling(event, self._pool)
            if said is not None:
                self._channel.say(said)

    # -- in -----------------------------------------------------------------------------------------

    def hear(self, said: Hearsay) -> None:
        """Let the pool know. Of an endpoint that a registry has not named yet it is kept until it has."""
        if self._pool.get(said.endpoint) is None and said.said is not Said.CLOSED:
            with self._lock:
                self._early.pop((said.endpoint, said.said), None)
                self._early[said.endpoint, said.said] = (said, self._now() + min(said.seconds, LONGEST))
                while len(self._early) > EARLY:
                    del self._early[next(iter(self._early))]
            if self._pool.get(said.endpoint) is not None:  # it has joined meanwhile
                self._joined(said.endpoint)
                return
        if said.said is Said.CLOSED:
            self._early.pop((said.endpoint, Said.OPEN), None)
        self._pool.hear(said, max_percent=self._sharing.max_percent)

    def _joined(self, id: str) -> None:
        with self._lock:
            kept = [self._early.pop((id, said)) for said in Said if (id, said) in self._early]
        now = self._now()
        for said, until in kept:
            if until > now:
                left = Hearsay(said.said, id, said.place, until - now, said.sender, said.group)
                self._pool.hear(left, max_percent=self._sharing.max_percent)

    def _lost(self, error: str) -> None:
        if self._lost_at is None:
            self._lost_at = self._now()
            self._emit(SharingLost(self._lost_at, error))

    def _restored(self) -> None:
        if self._lost_at is not None:
            now = self._now()
            seconds, self._lost_at = now - self._lost_at, None
            self._emit(SharingRestored(now, seconds))

    def __repr__(self) -> str:
        state = "stopped" if self._channel is None else "shared" if self._lost_at is None else "cut off"
        return f"<Exchange {state}, {self._sharing!r}>"


def worth_telling(event: Event, pool: Pool) -> Hearsay | None:
    """What others should know of it; None for what is nobody else's business."""
    if not isinstance(event, _TOLD) or event.hearsay:
        return None
    member = pool.get(event.endpoint)
    if member is None:
        return None
    id, place = event.endpoint, place_of(member.endpoint)
    match event:
        case BreakerChanged(state=BreakerState.OPEN, reason=reason):
            left = member.open_until - event.at
            if reason == MISCONFIGURED or left <= 0:
                return None
            return Hearsay(Said.OPEN, id, place, min(left, LONGEST))
        case BreakerChanged(state=BreakerState.CLOSED, before=before) if before in _BY_ITSELF:
            return Hearsay(Said.CLOSED, id, place, 0.0)
        case EndpointCooling(seconds=seconds, group=group) if seconds > 0:
            return Hearsay(Said.COOLING, id, place, min(seconds, LONGEST), group=group)
        case EndpointEjected(seconds=seconds) if seconds > 0:
            return Hearsay(Said.EJECTED, id, place, min(seconds, LONGEST))
        case _:
            return None


_TOLD = (BreakerChanged, EndpointCooling, EndpointEjected)
