"""From a question and what the call was told to the `Request` that plans see."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Protocol

from langchain_cluster.endpoints.caller import Question
from langchain_cluster.endpoints.content import abilities_for, least_tokens, reserve_of
from langchain_cluster.endpoints.fingerprint import CacheKeys, fingerprint, sampled
from langchain_cluster.endpoints.meaning import meaning_of
from langchain_cluster.endpoints.settings import SCOPE, CallSettings
from langchain_cluster.model.call import Request
from langchain_cluster.model.policy import Policy
from langchain_cluster.pool.pool import Pool

_FOR_TRACES = frozenset({SCOPE, "ls_structured_output_format", "structured_output_format"})
PREFIX = 4096  # characters
_NOTHING: frozenset[str] = frozenset()


class Asked(Protocol):
    """The part of a cluster that matters here."""

    keys: CacheKeys | None
    semantic_cache: Any
    pool: Pool
    spending: Any


def arguments_of(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments endpoints are given: the call's, and the model's own where the call has none."""
    arguments = {name: value for name, value in given.items() if name not in _FOR_TRACES}
    return {**own, **arguments} if own else arguments


def request_of(
    question: Question, settings: CallSettings, agent: str | None, policy: Policy, cluster: Asked
) -> Request:
    """A `Request`, with a fingerprint if its answer may be cached."""
    arguments, needs = question.arguments, _NOTHING
    if arguments:
        wanted = ("tools", "tools"), ("response_format", "structured_output")
        needs = frozenset(need for name, need in wanted if arguments.get(name))
    if abilities := abilities_for(question.messages):
        needs |= abilities
    tokens, reserve = None, 0
    prompt_tokens, answer_tokens = 0, None
    if cluster.pool.snapshot.metered or cluster.spending is not None:
        prompt_tokens, answer_tokens = least_tokens(question), reserve_of(arguments) or None
    narrowest = cluster.pool.snapshot.narrowest
    if narrowest < inf:
        tokens, reserve = least_tokens(question), reserve_of(arguments)
        if tokens + reserve <= narrowest:  # it fits everywhere: nothing to choose by
            tokens, reserve = None, 0
    digest_of = cluster.pool.digest_of
    prefix = None if digest_of is None else prefix_of(question)
    digest = meaning = None
    keep_calls = False
    if cluster.keys is not None and policy.cache is not False:
        # Sampling asks for variety: only who asks for the cache as well gets the same answer again.
        asked = "cache" in policy.model_fields_set
        if asked or not sampled(arguments, warm=cluster.keys.warm):
            digest = fingerprint(question.messages, question.stop, arguments, tenant=settings.tenant)
        if policy.cache_tool_calls is None:
            keep_calls = asked or settings.graph or agent is not None or _is_form(arguments)
        else:
            keep_calls = policy.cache_tool_calls
        if digest is not None and cluster.semantic_cache is not None:
            warm = cluster.keys.warm
            meaning = meaning_of(
                question.messages, question.stop, arguments, tenant=settings.tenant, warm=warm
            )
    return Request(
        settings.key,
        tags=settings.tags,
        zone=settings.zone,
        tier=settings.tier,
        tenant=settings.tenant,
        agent=agent,
        priority=settings.priority,
        needs=needs,
        tokens=tokens,
        reserve=reserve,
        payload=question,
        fingerprint=digest,
        prefix=prefix,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        meaning=meaning,
        prefix_digest=None if digest_of is None or prefix is None else digest_of(prefix, None),
        keep_calls=keep_calls,
    )


def _is_form(arguments: Mapping[str, Any]) -> bool:
    """Whether the call that is asked for is a form filled in, with which nothing is done."""
    tools = arguments.get("tools")
    return getattr(tools, "form", False) if tools else arguments.get("response_format") is not None


def prefix_of(question: Question) -> str:
    """What the prompt begins with, for balancers that send a prompt where its beginning is cached."""
    length, texts = 0, []
    for message in question.messages:
        texts.append(message.content if isinstance(message.content, str) else str(message.text))
        length += len(texts[-1])
        if length >= PREFIX:
            break
    return "\n".join(texts)[:PREFIX]
