"""What a call does when nothing healthy is left to answer it: a ladder of lesser answers, in a fixed order.

Each step is something rather than nothing, and says so: the answer's metadata names the step. Nothing
of it is cached, and a mistake of the caller's is not mended by a cheaper model: it is raised as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from langchain_cluster.errors import (
    BudgetExceeded,
    ClusterExhausted,
    DeadlineExceeded,
    NoEndpointAvailable,
    Overloaded,
)
from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.events import CallDegraded
from langchain_cluster.model.policy import Step
from langchain_cluster.plan.context import Context
from langchain_cluster.plan.effects import Plan
from langchain_cluster.plan.lookup import look_up, stale_key
from langchain_cluster.plan.times import Ask

_HOPELESS = (NoEndpointAvailable, ClusterExhausted, Overloaded, DeadlineExceeded, BudgetExceeded)


def degrading(ask: Ask) -> Ask:
    """`ask`, and the policy's ladder when it is hopeless."""

    def ask_or_degrade(request: Request, cx: Context, started: float, source: str) -> Plan[Answer]:
        try:
            return (yield from ask(request, cx, started, source))
        except Exception as error:
            # After the first token something of an answer is handed out: another one cannot follow it.
            if cx.begun or not (isinstance(error, _HOPELESS) or error is cx.gave_up):
                raise
            for step in cx.policy.degrade:
                answer = yield from take(step, request, cx, started, ask, error)
                if answer is not None:
                    cx.emit(CallDegraded(cx.now(), step, type(error).__name__))
                    return replace(answer, degraded=step, storable=False, seconds=cx.now() - started)
            raise

    return ask_or_degrade


def take(
    step: Step, request: Request, cx: Context, started: float, ask: Ask, error: BaseException
) -> Plan[Answer | None]:
    """The answer of one step; None when it has none."""
    match step:
        case "stale_cache":
            return (yield from stale(request, cx, started))
        case "cheaper_tier":
            return (yield from cheaper(request, cx, started, ask, error))
        case "static_answer":
            if cx.static is None or cx.policy.static_answer is None:
                return None
            return Answer(cx.static(cx.policy.static_answer), "off", cost=0.0)
        case "raise":
            return None
        case _:
            assert_never(step)


def stale(request: Request, cx: Context, started: float) -> Plan[Answer | None]:
    """What the cache held some time ago."""
    keys = () if cx.keys is None or cx.codec is None else cx.keys.all(request)
    if not keys:
        return None
    return (yield from look_up((*keys, *map(stale_key, keys)), cx, cx.now()))


def cheaper(
    request: Request, cx: Context, started: float, ask: Ask, error: BaseException
) -> Plan[Answer | None]:
    """The answer of the next tier that has one, in what is left of the call's time."""
    for tier in cheaper_tiers(request, cx):
        try:
            return (yield from ask(replace(request, tier=tier), cx, started, "off"))
        except Exception as worse:
            if cx.begun:
                raise
            error.add_note(f"nor could tier {tier!r} answer: {worse}")
    return None


def cheaper_tiers(request: Request, cx: Context) -> tuple[str, ...]:
    """The tiers below the one asked for: by the policy's order, else by the price of their endpoints."""
    order, wanted = cx.policy.tiers, request.tier
    if wanted is None:
        return ()  # every tier has been asked already
    if order:
        return order[order.index(wanted) + 1 :] if wanted in order else ()
    prices: dict[str, float] = {}
    for member in cx.pool.snapshot.members:
        endpoint = member.endpoint
        price = 0.0 if endpoint.price is None else endpoint.price.input + endpoint.price.output
        prices[endpoint.tier] = max(price, prices.get(endpoint.tier, 0.0))
    most = prices.get(wanted, 0.0)
    below = [tier for tier, price in prices.items() if tier != wanted and price < most]
    return tuple(sorted(below, key=lambda tier: -prices[tier]))
