"""A cached answer asked anew beside the calls that are given the old one: once, whoever notices its age."""

from __future__ import annotations

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.label import given_at
from langchain_cluster.plan.attempts import ask
from langchain_cluster.plan.claim import claim, claimed_by
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan
from langchain_cluster.plan.fresh import renewed
from langchain_cluster.plan.lookup import store


def renew(request: Request, cx: Context) -> Plan[Answer | None]:
    """The new answer, stored if it may be; None when another process asks or has asked. Raises as a call."""
    return (yield from claimed_by(_renew(request, cx), cx))


def _renew(request: Request, cx: Context) -> Plan[Answer | None]:
    started = cx.now()
    keys = () if cx.keys is None else cx.keys.all(request)
    if not keys:
        return None
    if cx.claims:
        claimed = yield from claim(keys, cx, started, streaming=False)
        if claimed is not None:
            cx.claim = claimed.claim
            if claimed.claim is None or _has_renewed(claimed.raw, cx):
                cx.kept = True
                return None
    answer = yield from ask(request, cx, started, "miss")
    yield from store(request, answer, cx, started)
    return answer


def _has_renewed(raw: bytes | None, cx: Context) -> bool:
    try:
        return raw is not None and renewed(given_at(raw), cx)
    except ValueError:
        return False  # nobody can read what lies there
