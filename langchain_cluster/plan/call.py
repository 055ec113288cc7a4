"""One call, top to bottom: cache, attempts, store, and one event at its end."""

from __future__ import annotations

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import CallEnded
from langchain_cluster.plan.admit import throttled
from langchain_cluster.plan.attempts import ask, ask_stream
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.degrade import degrading
from langchain_cluster.plan.each import with_each_cached
from langchain_cluster.plan.effects import Plan
from langchain_cluster.plan.hedge import ask_hedged, ask_stream_hedged
from langchain_cluster.plan.lookup import with_cache, without_value
from langchain_cluster.plan.times import Ask


def complete(request: Request, cx: Context) -> Plan[Answer]:
    """A whole answer."""
    how: Ask = ask if cx.policy.hedge is None else ask_hedged
    if cx.pool.throttle is not None:
        how = throttled(cx.pool.throttle, how)
    if cx.policy.degrade:
        how = degrading(how)
    return (yield from one_call(request, cx, how, streaming=False))


def relay(request: Request, cx: Context) -> Plan[Answer]:
    """A stream. The driver hands its chunks out; the answer says where they came from.

    An answer that is not `delivered` came from the cache, and is still to be handed out.
    """
    how: Ask = ask_stream if cx.policy.hedge is None else ask_stream_hedged
    if cx.pool.throttle is not None:
        how = throttled(cx.pool.throttle, how)
    if cx.policy.degrade:
        how = degrading(how)
    return (yield from one_call(request, cx, how, streaming=True))


def one_call(request: Request, cx: Context, ask: Ask, *, streaming: bool) -> Plan[Answer]:
    """Ends in exactly one answer or one error, and one `CallEnded`."""
    started = cx.now() if cx.began is None else cx.began
    ended: Answer | Exception | None = None
    try:
        if cx.parts is None:
            ended = yield from with_cache(request, cx, started, ask, streaming=streaming)
        else:
            ended = yield from with_each_cached(request, cx, started, ask, cx.parts, streaming=streaming)
        return ended
    except Exception as failure:
        ended = failure
        raise
    finally:
        if cx.heard:
            cx.emit(how_it_ended(request, ended, cx.now(), cx.asked))


def how_it_ended(
    request: Request, ended: Answer | Exception | None, now: float, asked: tuple[int, str] | None = None
) -> CallEnded:
    """The event of a call's end: with its answer but for what was said, its error, or abandoned."""
    if isinstance(ended, Answer):
        return CallEnded(now, request, without_value(ended), None, ended.attempts)
    error = "abandoned" if ended is None else type(ended).__name__
    made, last = asked or (0, None)
    return CallEnded(now, request, None, error, max(made, attempts_of(ended)), last)


def attempts_of(ended: Answer | BaseException | None) -> int:
    """How many attempts a call made that ended so."""
    if isinstance(ended, Answer):
        return ended.attempts
    told = getattr(ended, "attempts", None)
    if told is not None:
        return len(told)
    # A provider's own error carries a note per attempt.
    return sum(note.startswith("attempt ") for note in getattr(ended, "__notes__", ()))
