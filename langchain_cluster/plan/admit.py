"""May this call be made now? It waits in line for a place, or is shed: at once, with when to come again."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from langchain_cluster.errors import NoEndpointAvailable, Overloaded
from langchain_cluster.guard.throttle import Throttle
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import CallDequeued, CallQueued, CallShed
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan, Wait
from langchain_cluster.pool.line import Full, Place
from langchain_cluster.pool.members import Lease

if TYPE_CHECKING:
    from langchain_cluster.plan.tries import Tries

LOOK_AGAIN = 1.0  # seconds: an endpoint may have joined, or be well again, and nobody tells
UNKNOWN = 1.0  # seconds a call is taken to last where none has ended yet

Ask = Callable[[Request, Context, float, str], Plan[Answer]]


def in_line(tries: Tries, exclude: tuple[str, ...], *, probe: bool) -> Plan[Lease | NoEndpointAvailable]:
    """Wait for a place within the call's time.

    Returns:
        A claim on an endpoint; or why there will be none, where that is not for limits.

    Raises:
        Overloaded: the line is full, or was needed for a call that matters more; or no place comes in
            time, by limits that only time lifts.
        DeadlineExceeded: the call's time is over.
    """
    cx, line, queue = tries.cx, tries.cx.pool.line, tries.cx.pool.queue
    joined = now = cx.now()
    deadline = tries.deadline
    longest = None if queue is None or queue.timeout is None else now + queue.timeout
    last = min((at for at in (deadline, longest) if at is not None), default=None)
    try:
        place = line.join(tries.request, exclude, probe=probe, deadline=last, now=now)
    except Full:
        raise shed(tries, f"every endpoint is at a limit, and {line.waiting} calls wait", now) from None
    told = False
    with place:
        line.serve(now)
        while not place.settled:
            tries.check_deadline(now)
            if longest is not None and now >= longest:
                raise shed(tries, f"no place became free within {longest - joined:g} s", now)
            soonest, taken = cx.pool.room(tries.request, exclude=exclude, now=now)
            if last is not None and last <= soonest < inf and not taken:
                raise shed(tries, "every endpoint is out of its limits per minute for longer", now)
            if not told:
                told = True
                cx.emit(CallQueued(now, tries.request, line.waiting))
            yield from Wait(place, until(place, last, now))
            now = cx.now()
            line.serve(now)
        if place.shed:
            raise shed(tries, "its place was needed for a call that matters more", now)
        if place.lease is None:
            assert place.nobody is not None
            return place.nobody
        tries.check_deadline(now)
        if told:
            tries.queued += now - joined
            cx.emit(CallDequeued(now, tries.request, place.lease.endpoint.id, now - joined))
        return place.take()


def until(place: Place, last: float | None, now: float) -> float:
    """When to look untold: the limits' time, the call's own, or in a second."""
    times = [now + LOOK_AGAIN]
    if last is not None:
        times.append(last)
    if place.until > now:
        times.append(place.until)
    return min(times)


def shed(tries: Tries, reason: str, now: float) -> BaseException:
    """What a call gets that is refused: `Overloaded`, or what it has failed with before."""
    wait = seconds_until_room(tries, now)
    tries.cx.emit(CallShed(now, tries.request, reason, wait))
    overloaded = Overloaded(f"{reason}; come again in {wait:.1f} s", retry_after=wait)
    return tries.gave_up(note=f"no further attempt: {overloaded}") if tries.reports else overloaded


def seconds_until_room(tries: Tries, now: float) -> float:
    """When a call may find a place: by limits per minute, or when as many have ended as wait."""
    pool = tries.cx.pool
    soonest, taken = pool.room(tries.request, exclude=tries.unfit, now=now)
    if not taken and soonest < inf:
        return soonest - now
    places = sum(member.limit for member in pool.snapshot.ready if member.limit < inf)
    return (pool.line.waiting + 1) * (pool.typical_for(tries.request.role) or UNKNOWN) / max(1.0, places)


def throttled(throttle: Throttle, ask: Ask) -> Ask:
    """`ask`, unless the throttle refuses the call."""

    def asked(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
        now = cx.now()
        if throttle.refuses(request.priority, now):
            reason = "most calls were refused lately, so this one is not made"
            cx.emit(CallShed(now, request, reason, UNKNOWN))
            raise Overloaded(reason, retry_after=UNKNOWN)
        try:
            answer = yield from ask(request, cx, started, source)
        except Exception:
            throttle.asked(cx.now())
            raise
        throttle.asked(cx.now())
        return answer

    return asked
