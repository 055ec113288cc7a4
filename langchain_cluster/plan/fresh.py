"""Is a cached answer still good, too old, or good enough while it is asked anew beside the call?"""

from __future__ import annotations

from langchain_cluster.model.call import Request
from langchain_cluster.plan.context import Context


def fresh(at: float | None, cx: Context) -> bool:
    """Whether an answer given at `at` is young enough to need no other; so is one whose age nobody knows."""
    lasts = cx.policy.fresh_for
    return lasts is None or at is None or cx.wall() - at <= lasts


def served(at: float | None, request: Request, cx: Context) -> bool:
    """Whether a call is answered with an answer given at `at`; it is asked anew where that is due."""
    policy = cx.policy
    if policy.fresh_for is None or at is None:
        return True
    age = cx.wall() - at
    if age <= policy.fresh_for:
        ahead = policy.refresh_ahead
        if ahead is not None and age >= ahead * policy.fresh_for and cx.renewals is not None:
            cx.renewals.used(request, policy)
        return True
    if policy.stale_while_revalidate is None or age > policy.fresh_for + policy.stale_while_revalidate:
        return False
    if cx.renewals is not None:
        cx.renewals.begin(request, policy)
    return True


def renewed(at: float | None, cx: Context) -> bool:
    """Whether an answer is so young that somebody has just asked anew."""
    policy = cx.policy
    if policy.fresh_for is None or at is None:
        return False
    return cx.wall() - at < policy.fresh_for * (policy.refresh_ahead or 1.0)
