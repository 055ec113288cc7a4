"""A call for many values, each cached by itself: what is known is looked up, the rest is asked for."""

from __future__ import annotations

from typing import Any

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.model.label import given_at, labelled, unlabelled
from langchain_cluster.plan.context import Context, Parts
from langchain_cluster.plan.effects import LookupEach, Plan, StoreEach
from langchain_cluster.plan.fresh import fresh
from langchain_cluster.plan.lookup import together
from langchain_cluster.plan.times import Ask, look_until


def with_each_cached(
    request: Request, cx: Context, started: float, ask: Ask, parts: Parts, *, streaming: bool
) -> Plan[Answer]:
    """Answer from the cache as far as it goes, ask for what is missing, and store what came."""
    keys = () if cx.policy.cache is False or cx.codec is None else parts.keys(request)
    if not keys:
        return (yield from ask(request, cx, started, "off"))

    def keep(request: Request, answer: Answer, cx: Context, started: float) -> Plan[bytes | None]:
        return (yield from store_each(request, answer, cx, started, parts))

    known: dict[int, Any] = {}
    layer = "miss"
    if cx.policy.cache != "refresh":
        known, layer = yield from look_up_each(request, keys, cx, parts, started)
    missing = [place for place in range(len(keys)) if place not in known]
    if not missing:
        return Answer([known[n] for n in range(len(keys))], layer, seconds=cx.now() - started, cost=0.0)
    if known:
        rest = parts.only(request, missing)
        left = tuple([keys[place] for place in missing])
        answer = yield from together(rest, cx, started, ask, keep, left, streaming=streaming)
        if all(parts.agree(value, answer.value[0]) for value in known.values()):
            for place, value in zip(missing, answer.value, strict=True):
                known[place] = value
            return _with(answer, [known[place] for place in range(len(keys))])
        # What lay in the cache is from before the model changed: not to be mixed with what it says now.
        cx.cache_failed("lookup", "ValueError")
    return (yield from together(request, cx, started, ask, keep, keys, streaming=streaming))


def look_up_each(
    request: Request, keys: tuple[str, ...], cx: Context, parts: Parts, started: float
) -> Plan[tuple[dict[int, Any], str]]:
    """(the cached values by their place, the layer that held one). A broken cache holds nothing."""
    known: dict[int, Any] = {}
    layer = "miss"
    try:
        found = yield from LookupEach(keys, look_until(cx, started))
    except Exception as error:
        cx.cache_failed("lookup", type(error).__name__)
        return known, layer
    broken: Exception | None = None
    for place, part in enumerate(found):
        if part is None or part.raw is None:
            continue
        try:
            if fresh(given_at(part.raw), cx):
                known[place] = parts.decode(request, unlabelled(part.raw))
                layer = part.layer
        except Exception as error:
            broken = error
    if broken is not None:  # one event, however many of them
        cx.cache_failed("lookup", type(broken).__name__)
    return known, layer


def store_each(
    request: Request, answer: Answer, cx: Context, started: float, parts: Parts
) -> Plan[bytes | None]:
    """Cache each value; the bytes of all, to be shared with whoever waits for them."""
    if not answer.storable or cx.codec is None:
        return None
    raw: bytes | None = None
    try:
        raw = cx.codec.encode(answer.value)
        keys = parts.keys(request)
        raws = {k: parts.encode(v) for k, v in zip(keys, answer.value, strict=True)}
        if cx.policy.cache_tags or cx.policy.fresh_for is not None:  # else a label says nothing anybody asks
            now, tags = cx.wall(), cx.policy.cache_tags
            raws = {key: labelled(value, now, tags) for key, value in raws.items()}
        yield from StoreEach(raws, look_until(cx, started))
        cx.cache_worked("store")
    except Exception as error:
        cx.cache_failed("store", type(error).__name__)
    return raw


def _with(answer: Answer, value: Any) -> Answer:
    """The answer with the cached parts put back in. Not storable any more: it was stored in parts."""
    return Answer(
        value,
        answer.source,
        answer.endpoint,
        answer.tier,
        answer.attempts,
        answer.hedged,
        answer.seconds,
        answer.cost,
        answer.usage,
        storable=False,
    )
