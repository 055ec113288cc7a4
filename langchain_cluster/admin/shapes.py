"""Members and events as JSON: what is shown of them, and that nothing anybody asked or answered is."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from langchain_cluster.model.call import Answer, AttemptReport, Request
from langchain_cluster.model.endpoint import Endpoint, EndpointState
from langchain_cluster.model.events import (
    AttemptEnded,
    BudgetUsed,
    CallDequeued,
    CallEnded,
    CallQueued,
    Event,
    HedgeBegun,
)
from langchain_cluster.pool.members import Member
from langchain_cluster.telemetry.describe import model_of
from langchain_cluster.telemetry.scrub import payer, scrub

CALLS = (AttemptEnded, CallDequeued, CallEnded, CallQueued, HedgeBegun)  # as many as there are calls

NOTHING_COUNTED: dict[str, Any] = {
    "share": 0.0,
    "calls_per_minute": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cost_usd": 0.0,
    "timeline": [],
}


def member_shape(
    member: Member, state: EndpointState, counted: dict[str, Any] | None, now: float
) -> dict[str, Any]:
    """One endpoint, and what is known of it now; times that lie ahead are seconds from now."""
    endpoint = member.endpoint
    return {
        "id": endpoint.id,
        "state": state.value,
        "why_not": member.why_not(now),
        "status": member.status.value,
        "circuit": member.breaker_state.value,
        "healthy": member.healthy,
        "open_for": max(0.0, member.open_until - now),
        "ejected_for": max(0.0, member.ejected_until - now),
        "cooling_for": max(0.0, member.cooling_until - now),
        "in_flight": member.in_flight,
        "served": member.served,
        "failed": member.failed,
        "latency_seconds": member.ewma_seconds,
        "limits": finite(member.limits(now)),
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "tier": endpoint.tier,
        "zone": endpoint.zone,
        "roles": sorted(role.value for role in endpoint.roles),
        "model": model_of(endpoint),
        "url": bare(endpoint.url),
        **(counted or NOTHING_COUNTED),
    }


def event_shape(event: Event, wall: float) -> dict[str, Any]:
    """An event by the names of its fields; `at` is seconds since 1970. No message and no key."""
    shape: dict[str, Any] = {"kind": type(event).__name__, "at": round(wall, 3)}
    for spec in fields(event):
        if spec.name != "at":
            shape[spec.name] = _part(getattr(event, spec.name))
    if isinstance(event, BudgetUsed):
        shape["who"] = payer(event)
    return shape


def _part(value: Any) -> Any:
    match value:
        case Endpoint():
            return value.id
        case Request():
            return {"role": value.role.value, "agent": value.agent, "tier": value.tier, "zone": value.zone}
        case Answer():
            return {
                name: _part(getattr(value, name))
                for name in ("source", "endpoint", "tier", "attempts", "hedged", "seconds", "cost", "usage")
            }
        case AttemptReport():
            names = ("number", "endpoint", "verdict", "seconds", "reason")
            return {name: _part(getattr(value, name)) for name in names}
        case Enum():
            return value.value
        case str():
            return scrub(value)
        case tuple():
            return [_part(each) for each in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int():
            return value
    if is_dataclass(value):
        return {spec.name: _part(getattr(value, spec.name)) for spec in fields(value)}
    return f"<{type(value).__name__}>"  # its repr may tell


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """The same with None where JSON has no number."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def bare(url: str | None) -> str | None:
    """A URL without what may hide a secret: user, query and fragment."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
