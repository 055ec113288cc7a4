"""Answers to questions that mean the same: looked for when nothing is known of this very question.

A cache of meanings that is away, slow or confused is a miss and an event, like any other cache.
"""

from __future__ import annotations

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import CacheFailed
from langchain_cluster.model.label import given_at
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import LookupAlike, Plan, StoreAlike
from langchain_cluster.plan.fresh import served

# Seconds a question's meaning may keep a call waiting, and the part of the time left. The first one loads a
# model, and some embedders are far away.
LONGEST = 5.0
PART = 0.25


def answer_alike(request: Request, cx: Context, started: float) -> Plan[Answer | None]:
    """The answer to a question that means the same, or None."""
    if cx.alike is None or request.meaning is None or cx.keys is None or cx.policy.cache == "refresh":
        return None
    scopes = cx.keys.scopes(request)
    try:
        hit = yield from LookupAlike(request.meaning.text, scopes, _until(cx, started))
        if hit is None:
            return None
        if not served(given_at(hit.answer), request, cx):
            return None
        value = cx.codec.decode(hit.answer)  # type: ignore[union-attr]
    except Exception as error:
        cx.emit(CacheFailed(cx.now(), "lookup by meaning", type(error).__name__))
        return None
    if hit.audit and (cx.budget is None or cx.budget.withdraw(cx.now())):
        cx.alike.audit(request, hit)
    return Answer(value, "semantic", seconds=cx.now() - started, cost=0.0)


def store_alike(
    request: Request, answer: Answer, raw: bytes, endpoint: Endpoint, cx: Context, started: float
) -> Plan[None]:
    """Keep an answer for questions that mean the same. A failed store is an event."""
    if cx.alike is None or request.meaning is None or cx.keys is None:
        return
    words = cx.alike.words(answer.value)
    if words is None:
        return
    try:
        scope = cx.keys.scope(request, endpoint)
        yield from StoreAlike(request.meaning.text, scope, raw, words, _until(cx, started))
    except Exception as error:
        cx.emit(CacheFailed(cx.now(), "store by meaning", type(error).__name__))


def _until(cx: Context, started: float) -> float:
    now, timeout = cx.now(), cx.policy.timeout
    return now + (LONGEST if timeout is None else min(LONGEST, (started + timeout - now) * PART))
