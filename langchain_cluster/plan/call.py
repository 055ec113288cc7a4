"""One call, top to bottom: cache, attempts, store, and one event at its end."""

from __future__ import annotations

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import CallEnded
from langchain_cluster.plan.attempts import ask, ask_stream
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan
from langchain_cluster.plan.lookup import Ask, with_cache, without_value


def complete(request: Request, cx: Context) -> Plan[Answer]:
    """A whole answer."""
    return (yield from one_call(request, cx, ask, streaming=False))


def relay(request: Request, cx: Context) -> Plan[Answer]:
    """A stream. The driver hands its chunks out; the answer says where they came from.

    An answer that is not `delivered` came from the cache, and is still to be handed out.
    """
    return (yield from one_call(request, cx, ask_stream, streaming=True))


def one_call(request: Request, cx: Context, ask: Ask, *, streaming: bool) -> Plan[Answer]:
    """Ends in exactly one answer or one error, and one `CallEnded`."""
    started = cx.now()
    if cx.budget is not None:
        cx.budget.deposit(started)
    error: str | None = "abandoned"
    attempts = 0
    answer: Answer | None = None
    try:
        answer = yield from with_cache(request, cx, started, ask, streaming=streaming)
        error, attempts = None, answer.attempts
        return answer
    except Exception as failure:
        error = type(failure).__name__
        attempts = len(getattr(failure, "attempts", ())) or len(getattr(failure, "__notes__", ()))
        raise
    finally:
        cx.emit(CallEnded(cx.now(), request, without_value(answer) if answer else None, error, attempts))
