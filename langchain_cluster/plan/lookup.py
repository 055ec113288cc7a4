"""The cache around a call: look up, join an identical call in flight, store. A broken cache is a miss."""

from __future__ import annotations

from langchain_cluster.errors import BudgetExceeded, DeadlineExceeded, Overloaded, StreamInterrupted
from langchain_cluster.guard.flights import Flight
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.label import given_at, labelled
from langchain_cluster.plan.alike import answer_alike, store_alike
from langchain_cluster.plan.claim import claimed_by, claiming
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Lookup, Plan, Store, Wait
from langchain_cluster.plan.fresh import served
from langchain_cluster.plan.times import (
    LONGEST_FOR_ALL,
    LONGEST_LOOK,
    PAUSED,
    Ask,
    Keep,
    look_until,
    patience,
    short_of_time,
)


def with_cache(request: Request, cx: Context, started: float, ask: Ask, *, streaming: bool) -> Plan[Answer]:
    """Answer from the cache, from an identical call in flight, or by `ask`, and store what came."""
    keys = () if cx.keys is None or cx.policy.cache is False else cx.keys.all(request)
    if not keys or cx.codec is None:
        return (yield from ask(request, cx, started, "off"))
    if cx.policy.cache != "refresh":
        # What is far away one of the identical calls looks for, and only it.
        hit = yield from look_up(keys, cx, started, request, near=cx.claims)
        if hit is not None:
            return hit
        if cx.claims:
            ask = claiming(ask, keys, streaming=streaming)
    if cx.alike is not None and request.meaning is not None:
        ask = _recalling(ask)
    if cx.claims and cx.policy.cache != "refresh":
        ask = _looking(ask, keys)
    plan = together(request, cx, started, ask, store, keys, streaming=streaming)
    return (yield from (claimed_by(plan, cx) if cx.claims else plan))


def _recalling(ask: Ask) -> Ask:
    """`ask`, unless a question that means the same was answered. Of identical calls, the first one looks."""

    def recall_or_ask(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
        known = yield from answer_alike(request, cx, started)
        return known if known is not None else (yield from ask(request, cx, started, source))

    return recall_or_ask


def _looking(ask: Ask, keys: tuple[str, ...]) -> Ask:
    """`ask`, unless the answer lies in the cache."""

    def look_or_ask(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
        hit = yield from look_up(keys, cx, started, request)
        return hit if hit is not None else (yield from ask(request, cx, started, source))

    return look_or_ask


def together(
    request: Request,
    cx: Context,
    started: float,
    ask: Ask,
    keep: Keep,
    keys: tuple[str, ...],
    *,
    streaming: bool,
) -> Plan[Answer]:
    """Join an identical call in flight, or ask and `keep` what came."""
    if cx.flights is None:
        answer = yield from ask(request, cx, started, "miss")
        yield from keep(request, answer, cx, started)
        return answer
    key = flight_key(request, keys, cx)
    flight, leads = cx.flights.join(key, streaming=streaming, terms=cx.policy)
    while True:
        if leads:
            return (yield from lead(request, cx, started, ask, keep, key, flight))
        longest = patience(False, cx, started)
        while True:
            yield from Wait(flight, patience(flight.streaming, cx, started))
            if flight.landed or paused(flight, cx) or (longest is not None and cx.now() >= longest):
                break
        shared = share(flight, cx, started)
        if shared is not None:
            return shared
        if not flight.landed:  # it takes too long: one of us asks, and the others wait for that one
            flight, leads = cx.flights.overtake(key, flight, streaming=streaming, terms=cx.policy)
        elif flight.abandoned:
            flight, leads = cx.flights.join(key, streaming=streaming, terms=cx.policy)
        else:
            break  # not an answer to share, or an error on other terms: go on alone
    answer = yield from ask(request, cx, started, "miss")
    yield from keep(request, answer, cx, started)
    return answer


def paused(flight: Flight, cx: Context) -> bool:
    """Whether whoever is handed this answer has paused: perhaps for good, and it may be who waits."""
    since = flight.handed()
    return since is not None and cx.now() - since >= PAUSED


def flight_key(request: Request, keys: tuple[str, ...], cx: Context) -> str:
    """Calls with this key may be answered by one another's endpoints."""
    key = "|".join(keys)
    if cx.policy.cache == "refresh":
        key += "|refresh"  # what others are answered with may be what they found
    if request.particular or request.zone is not None:
        key += repr((request.tier, sorted(request.tags), request.model, sorted(request.needs), request.zone))
    return key


def look_up(
    keys: tuple[str, ...],
    cx: Context,
    started: float,
    request: Request | None = None,
    *,
    near: bool = False,
) -> Plan[Answer | None]:
    """The cached answer, or None.

    Args:
        request: only one that is not too old for it. near: only one for which nothing has to be waited.
    """
    try:
        found = yield from Lookup(keys, look_until(cx, started), near)
        if found is None:
            if not near:
                cx.cache_worked("lookup")
            return None
        for error in found.failed:
            cx.cache_failed("lookup", error)
        if not found.failed and found.layer != "memory":  # the nearest alone says nothing of the others
            cx.cache_worked("lookup")
        if found.raw is None:
            return None
        if request is not None and not served(given_at(found.raw), request, cx):
            return None
        value = cx.codec.decode(found.raw)  # type: ignore[union-attr]
    except Exception as error:
        cx.cache_failed("lookup", type(error).__name__)
        cx.waited = isinstance(error, TimeoutError) and short_of_time(cx, started)
        return None
    return Answer(value, found.layer, seconds=cx.now() - started, cost=0.0)


def lead(
    request: Request, cx: Context, started: float, ask: Ask, keep: Keep, key: str, flight: Flight
) -> Plan[Answer]:
    """Ask, and tell whoever joined how it ended, even if it did not."""
    flight.handed = lambda: None if cx.opened is None else cx.opened.handed
    raw: bytes | None = None
    error: BaseException | None = None
    answer: Answer | None = None
    try:
        answer = yield from ask(request, cx, started, "miss")
        raw = yield from keep(request, answer, cx, started)
        return answer
    except (DeadlineExceeded, Overloaded, BudgetExceeded, StreamInterrupted):
        # It was this call's time, place or money; who joined may have his own. And who was handed nothing of
        # a stream that broke may still be answered.
        raise
    except Exception as failure:
        error = failure
        raise
    finally:
        left = answer is None and error is None
        cx.flights.land(key, flight, raw=raw, error=error, abandoned=left)  # type: ignore[union-attr]


def share(flight: Flight, cx: Context, started: float) -> Answer | None:
    """The leader's answer, a copy of its own for everybody; raises its error if it asked on our terms."""
    if flight.error is not None and flight.terms == cx.policy:
        raise flight.error
    if flight.raw is None:
        return None
    value = cx.codec.decode(flight.raw)  # type: ignore[union-attr]
    return Answer(value, "memory", seconds=cx.now() - started, cost=0.0)


def store(request: Request, answer: Answer, cx: Context, started: float) -> Plan[bytes | None]:
    """Cache a whole answer; its bytes, or None when it is not one. A failed store is an event.

    What cannot be kept can still be shared with whoever waits for it now. A call of little time that has
    waited for the cache in vain does not wait for it again.
    """
    endpoint = cx.pool.get(answer.endpoint or "")
    if not answer.storable or cx.keys is None or cx.codec is None:
        return None
    if endpoint is None:
        # It was known: of another question's answer no copy is kept, which would outlive the one that is
        # checked, and this question's own is kept already.
        return cx.codec.encode(answer.value) if answer.source not in ("miss", "off") else None
    raw: bytes | None = None
    try:
        raw = cx.codec.encode(answer.value)
        kept = labelled(raw, cx.wall(), cx.policy.cache_tags)
        if cx.waited:
            cx.cache_failed("store", TimeoutError.__name__)
        else:
            yield from _write(cx.keys.of(request, endpoint.endpoint), kept, cx, started)
    except Exception as error:
        cx.cache_failed("store", type(error).__name__)
    if raw is not None:
        yield from store_alike(request, answer, kept, endpoint.endpoint, cx, started)
    return raw


def _write(key: str, kept: bytes, cx: Context, started: float) -> Plan[None]:
    longest = LONGEST_LOOK if cx.claim is None else LONGEST_FOR_ALL
    failed = yield from Store(key, kept, look_until(cx, started, longest))
    cx.kept = not failed
    if not failed:
        cx.cache_worked("store")
    for name in failed or ():
        cx.cache_failed("store", name)
    if "stale_cache" in cx.policy.degrade:
        yield from Store(stale_key(key), kept, look_until(cx, started), cx.policy.stale_for)


def stale_key(key: str) -> str:
    """Under which a copy lies that outlives the entry itself, for when nobody can answer."""
    return f"{key}:stale"


def without_value(answer: Answer) -> Answer:
    """The answer without what was said, for events."""
    return Answer(
        None,
        answer.source,
        answer.endpoint,
        answer.tier,
        answer.attempts,
        answer.hedged,
        answer.seconds,
        answer.cost,
        answer.usage,
        degraded=answer.degraded,
    )
