"""Of processes that ask one new question one asks; the others wait for its answer in the cache they share.

Who claims the question asks it. The others look again every now and then, with the very command that claims
it: so whoever asked and died is followed by one of them. Nobody waits longer than for a call in flight in
his own process. A cache that cannot be asked keeps nobody from asking; but whoever has seen that another
asks looks on for a little while, for a call of his own takes seconds too.
"""

from __future__ import annotations

from typing import TypeVar

from langchain_cluster.errors import DeadlineExceeded
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.label import given_at
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Claimed, ClaimQuestion, Plan, Sleep
from langchain_cluster.plan.fresh import fresh
from langchain_cluster.plan.times import LONGEST_ABROAD, LONGEST_FOR_ALL, Ask, look_until, patience

T = TypeVar("T")
FIRST, GROWTH, LONGEST = 0.01, 1.5, 0.1  # seconds between two looks: the first, times so much, at most
FORGIVEN = 2.0  # seconds since the last look that was answered: the store's breaker tries again sooner


def claiming(ask: Ask, keys: tuple[str, ...], *, streaming: bool) -> Ask:
    """`ask`, unless another process asks the same."""

    def claim_and_ask(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
        pause = FIRST
        until: float | None = None
        last: float | None = None
        seen: float | None = None
        while True:
            claimed = yield from claim(keys, cx, started, streaming=streaming)
            if claimed is None:
                if seen is None:
                    break
                last = seen + FORGIVEN if until is None else min(until, seen + FORGIVEN)
            else:
                known = shared(claimed, cx, started)
                if known is not None:
                    if claimed.claim is not None:
                        claimed.claim.end(shared=True)
                    return known
                if claimed.claim is not None:
                    cx.claim = claimed.claim
                    break
                if claimed.alone:
                    break
                if seen is None:
                    until = patience(claimed.streaming, cx, started, LONGEST_ABROAD)
                seen, last = cx.now(), until
            if last is not None and cx.now() + pause > last:
                break
            yield from Sleep(pause)
            pause = min(LONGEST, pause * GROWTH)
        return (yield from ask(request, cx, started, source))

    return claim_and_ask


def claim(keys: tuple[str, ...], cx: Context, started: float, *, streaming: bool) -> Plan[Claimed | None]:
    """Claim a question; None when that cannot be done, or the call's time for its cache is over."""
    if cx.waited:
        cx.cache_failed("claim", TimeoutError.__name__)
        return None
    try:
        return (yield from ClaimQuestion(keys, streaming, look_until(cx, started, LONGEST_FOR_ALL)))
    except Exception as error:
        cx.cache_failed("claim", type(error).__name__)
        return None


def shared(claimed: Claimed, cx: Context, started: float) -> Answer | None:
    """The answer another process has left meanwhile."""
    if claimed.raw is None:
        return None
    try:
        if not fresh(given_at(claimed.raw), cx):
            return None
        value = cx.codec.decode(claimed.raw)  # type: ignore[union-attr]
    except Exception as error:
        cx.cache_failed("lookup", type(error).__name__)
        return None
    return Answer(value, claimed.layer, seconds=cx.now() - started, cost=0.0)


def claimed_by(plan: Plan[T], cx: Context) -> Plan[T]:
    """`plan`, after which a claim it made is given back, however it ends."""
    left = True
    try:
        answer = yield from plan
        left = False
        return answer
    except DeadlineExceeded:
        raise  # this call's time was over: another one may have more
    except Exception:
        left = False
        raise
    finally:
        if cx.claim is not None:
            cx.claim.end(shared=left or cx.kept)
            cx.claim = None
