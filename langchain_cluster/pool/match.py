"""Conditions a request puts on endpoints before anybody balances, and which of them left nobody.

Role, tier, tags, model and declared capabilities are demands: `lacks`. That a prompt does not fit a
window is an estimate, and what a profile says is a hint: `doubt`. A doubt keeps an endpoint out only
while there is somebody without one: an estimate may be wrong, and if it is right the endpoint's own error
is the one that callers know how to handle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint


def lacks(endpoint: Endpoint, request: Request) -> str | None:
    """Why `endpoint` may not serve `request`, in a short clause; None when it may."""
    if request.role not in endpoint.roles:
        return f"has no role {request.role.value}"
    if request.tier is not None and endpoint.tier != request.tier:
        return f"is of tier {endpoint.tier}, not {request.tier}"
    if not request.tags <= endpoint.tags:
        return f"lacks the tags {', '.join(sorted(request.tags - endpoint.tags))}"
    if request.model is not None and endpoint.metadata.get("model") != request.model:
        return f"does not serve the model {request.model}"
    if request.needs and endpoint.capabilities is not None and not request.needs <= endpoint.capabilities:
        return f"cannot do {', '.join(sorted(request.needs - endpoint.capabilities))}"
    return None


@dataclass(frozen=True, slots=True)
class Doubts:
    """What of a request speaks against endpoints that lack nothing.

    Args:
        needs: capabilities that a model's profile may deny.
        tokens: the fewest the prompt can have. reserve: tokens the answer was promised.
        enough: a window of so many tokens will do, however long the prompt is.
    """

    needs: frozenset[str] = frozenset()
    tokens: int = 0
    reserve: int = 0
    enough: float = inf


def doubt(endpoint: Endpoint, doubts: Doubts) -> str | None:
    """Why `endpoint` would surely or likely fail, in a short clause; None when it would not."""
    hints = endpoint.hints
    if endpoint.capabilities is None and (denied := doubts.needs & hints.denied):
        return f"cannot do {', '.join(sorted(denied))}, by its model's profile"
    window, needed = endpoint.context_window, doubts.tokens + doubts.reserve
    if window is None:
        window, needed = hints.window, doubts.tokens  # a profile's window is for the prompt alone
    if window is not None and window < needed and window < doubts.enough:
        return f"has a window of {window} tokens, and at least {needed} are needed"
    return None


def doubts_of(endpoints: Sequence[Endpoint], request: Request) -> Doubts:
    """What speaks against some of `endpoints`, and not against all.

    A profile is the weaker witness, so it is the first not to be heard. If the prompt is too long for
    all, the largest window is to be asked.
    """
    doubts = Doubts(request.needs, request.tokens or 0, request.reserve)
    for held in (doubts, replace(doubts, needs=frozenset())):
        if any(doubt(endpoint, held) is None for endpoint in endpoints):
            return held
    # Nobody is free of doubts even without profiles: every window is known, and too small.
    willing = [e for e in endpoints if not (doubts.needs & e.hints.denied and e.capabilities is None)]
    largest = max((e.window or 0 for e in willing or endpoints), default=0)
    return replace(doubts, needs=doubts.needs if willing else frozenset(), enough=largest)


def narrowing(endpoints: Sequence[Endpoint], request: Request, doubts: Doubts) -> tuple[str, list[Endpoint]]:
    """How the conditions of `request` narrowed `endpoints`, one after the other, and whom they left.

    The text names each that left fewer than the one before and ends with the one that left nobody;
    "" when none narrowed anything.
    """
    left, told = list(endpoints), []
    wanted: dict[str, Any] = {}
    for name, more in _conditions(request):
        wanted |= more
        asked = Request(**wanted)
        fewer = [endpoint for endpoint in left if lacks(endpoint, asked) is None]
        if len(fewer) < len(left):
            left = fewer
            told.append(f"{name} leaves {len(left)}")
    profiles = replace(doubts, tokens=0, reserve=0)
    length = f"a length of {doubts.tokens + doubts.reserve} tokens or more"
    for name, held in (("what profiles say", profiles), (length, doubts)):
        fewer = [endpoint for endpoint in left if doubt(endpoint, held) is None]
        if len(fewer) < len(left):
            left = fewer
            told.append(f"{name} leaves {len(left)}")
    return ", ".join(told), left


def _conditions(request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"role {request.role.value}", {"role": request.role}
    if request.tier is not None:
        yield f"tier {request.tier!r}", {"tier": request.tier}
    for count, tag in enumerate(sorted(request.tags), 1):
        yield f"tag {tag!r}", {"tags": frozenset(sorted(request.tags)[:count])}
    if request.model is not None:
        yield f"model {request.model!r}", {"model": request.model}
    for count, need in enumerate(sorted(request.needs), 1):
        yield need, {"needs": frozenset(sorted(request.needs)[:count])}
