"""The cache around any step: what is kept, or a seat to work it out in while others wait for it.

The step itself runs between the two plans, in its caller's own hands: this decides only whether it has to,
and what becomes of its value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_cluster.guard.flights import Flight, Flights
from langchain_cluster.guard.outage import Outage
from langchain_cluster.model.events import CacheFailed, CacheRecovered, Event, NotCached
from langchain_cluster.model.label import labelled, unlabelled
from langchain_cluster.plan.effects import Lookup, Plan, Store, Wait
from langchain_cluster.plan.times import LONGEST_LOOK, LONGEST_PATIENCE, LOOK
from langchain_cluster.ports import Codec


@dataclass(slots=True)
class Step:
    """One call of a step, and what its plans may see.

    Args:
        name: of the step, for events.
        key: under which its value lies.
        ttl: seconds a value lives; None for as long as the store keeps it.
        until: when the time of the call is over, None for never.
        refresh: whether to work it out though it is kept.
        streaming: whether its value comes bit by bit, at its consumer's pace.
        tags: under which it can be taken back. wall: seconds since 1970.
    """

    name: str
    key: str
    ttl: float | None
    until: float | None
    refresh: bool
    streaming: bool
    flights: Flights
    codec: Codec
    outage: Outage
    now: Callable[[], float]
    emit: Callable[[Event], None]
    tags: tuple[str, ...]
    wall: Callable[[], float]

    @property
    def flight_key(self) -> str:
        """Who works it out anew is joined by those who want that, too."""
        return f"{self.key}|refresh" if self.refresh else self.key

    def land(self, flight: Flight, raw: bytes | None, *, left: bool = False) -> None:
        """It is over: with a value to share, without one, or `left` for somebody else to begin again."""
        self.flights.land(self.flight_key, flight, raw=raw, error=None, abandoned=left)

    def failed(self, operation: str, error: str) -> None:
        """The cache could not do that; the step goes on without it."""
        now = self.now()
        self.outage.began(now)
        self.emit(CacheFailed(now, operation, error))

    def worked(self, operation: str) -> None:
        """Every layer of the cache did that."""
        if self.outage.since is not None:
            now = self.now()
            seconds = self.outage.ended(now)
            if seconds is not None:
                self.emit(CacheRecovered(now, operation, seconds))

    def not_kept(self, reason: str) -> None:
        """Its value is handed out, and not kept."""
        self.emit(NotCached(self.now(), self.name, reason))

    def look_until(self) -> float:
        """Until when to wait for the cache: never for more than a part of the time that is left."""
        now = self.now()
        return now + (LONGEST_LOOK if self.until is None else min(LONGEST_LOOK, (self.until - now) * LOOK))


@dataclass(frozen=True, slots=True)
class Kept:
    """A value somebody worked out before, or just now; the reader's own copy."""

    value: Any
    layer: str


@dataclass(frozen=True, slots=True)
class Seat:
    """It is to be worked out. With a flight others wait for it, and it must land, however that ends."""

    flight: Flight | None


def seek(step: Step) -> Plan[Kept | Seat]:
    """What is kept, what an identical call in flight gives, or a seat.

    Of identical calls one looks, after it has joined: whatever another has kept before is there by then.
    """
    longest = None if step.until is None else (now := step.now()) + (step.until - now) * 0.9
    while True:
        flight, leads = step.flights.join(step.flight_key, streaming=step.streaming)
        while not leads:
            yield from Wait(flight, _patience(flight, step, longest))
            if flight.raw is not None:
                return Kept(step.codec.decode(flight.raw), "memory")
            if flight.abandoned:
                break
            if flight.landed or (longest is not None and step.now() >= longest):
                return Seat(None)  # its error is its own, and what cannot be encoded cannot be shared
            # The consumer of a stream has paused: one of us works it out, and the others wait for that one.
            flight, leads = step.flights.overtake(step.flight_key, flight, streaming=step.streaming)
        if leads:
            return (yield from _look_first(step, flight))


def keep(step: Step, value: Any) -> Plan[bytes | None]:
    """Keep a value; its bytes, or None when it has none. Never raises: the caller has its value."""
    raw: bytes | None = None
    try:
        raw = step.codec.encode(value)
    except Exception as error:
        step.not_kept(str(error) or type(error).__name__)
        return None
    try:
        kept = labelled(raw, step.wall(), step.tags)
        failed = yield from Store(step.key, kept, step.look_until(), step.ttl)
        if not failed:
            step.worked("store")
        for name in failed or ():
            step.failed("store", name)
    except Exception as error:
        step.failed("store", type(error).__name__)
    return raw


def _look_first(step: Step, flight: Flight) -> Plan[Kept | Seat]:
    """The seat is taken; what is kept is shared with whoever waits."""
    raw: bytes | None = None
    left = True
    try:
        if not step.refresh:
            raw, layer = yield from _look_up(step)
            if raw is not None:
                kept = Kept(step.codec.decode(raw), layer)
                left = False
                return kept
        left = False
        return Seat(flight)
    except ValueError as error:  # bytes of others
        raw, left = None, False
        step.failed("lookup", type(error).__name__)
        return Seat(flight)
    finally:
        if raw is not None or left:
            step.land(flight, raw, left=left)


def _look_up(step: Step) -> Plan[tuple[bytes | None, str]]:
    try:
        found = yield from Lookup((step.key,), step.look_until())
        for error in () if found is None else found.failed:
            step.failed("lookup", error)
        # The nearest layer alone says nothing of the others.
        if found is None or (not found.failed and found.layer != "memory"):
            step.worked("lookup")
        if found is None or found.raw is None:
            return None, "miss"
        return unlabelled(found.raw), found.layer
    except Exception as error:
        step.failed("lookup", type(error).__name__)
        return None, "miss"


def _patience(flight: Flight, step: Step, longest: float | None) -> float | None:
    """Until when to wait for another's work. A consumer of a stream may pause for good."""
    if not flight.streaming:
        return longest
    soon = step.now() + LONGEST_PATIENCE
    return soon if longest is None else min(soon, longest)
