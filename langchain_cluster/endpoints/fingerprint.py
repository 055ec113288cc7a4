"""The key of a question: everything that determines its answer, and nothing else.

What goes in is chosen by allow-list for messages and by deny-list for parameters: an unknown field of
a message is provider noise that would make replays miss, an unknown parameter may change the answer.
What cannot be projected faithfully makes the question uncacheable; it is never guessed from a `repr`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableBinding

from langchain_cluster.balancer.tables import remember
from langchain_cluster.endpoints.blocks import Uncacheable, content_parts
from langchain_cluster.model.cache_key import cache_key
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.match import lacks
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.pool import Pool

VERSION = "1"
# Attributes of a chat model that change what it answers; read anew for each call.
PARAMETERS = (
    "model_name", "model", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens",
    "max_tokens_to_sample", "stop", "stop_sequences", "seed", "n", "presence_penalty",
    "frequency_penalty", "logit_bias", "reasoning", "reasoning_effort", "thinking", "model_kwargs",
    "extra_body", "revision", "model_id", "deployment_name", "verbosity", "logprobs", "top_logprobs",
    "output_version", "use_responses_api", "include", "truncation", "context_management", "disabled_params",
    "output_config", "betas", "mcp_servers", "container",
    "max_output_tokens", "max_new_tokens", "candidate_count", "safety_settings", "cached_content",
    "response_mime_type", "response_schema", "thinking_budget", "thinking_level",
    "num_predict", "num_ctx", "format", "mirostat", "mirostat_eta", "mirostat_tau", "repeat_last_n",
    "repeat_penalty", "repetition_penalty", "tfs_z", "min_p", "typical_p", "do_sample",
    "additional_model_request_fields", "guardrails", "guardrail_config",
)  # fmt: skip
# The same of an embedding model.
VECTOR_PARAMETERS = (
    "model_name", "model", "model_id", "repo_id", "deployment", "deployment_name", "dimensions", "size",
    "revision", "task", "task_type", "truncate", "normalize", "encode_kwargs", "query_encode_kwargs",
    "model_kwargs", "embed_instruction", "query_instruction", "extra_body",
)  # fmt: skip
# The same of a retriever: which part of the index it looks at, and how.
RETRIEVER_PARAMETERS = (
    "k", "top_k", "fetch_k", "search_type", "search_kwargs", "score_threshold", "filter", "index_name",
    "index", "collection_name", "namespace", "weights",
)  # fmt: skip
# Arguments of a call that do not.
_NO_MATTER = frozenset(
    {
        "timeout", "request_timeout", "max_retries", "stream", "streaming", "stream_usage",
        "stream_options", "callbacks", "tags", "metadata", "extra_headers", "api_key", "user",
        "run_name", "run_id", "ls_structured_output_format", "structured_output_format",
    }
)  # fmt: skip
# Of a message's `additional_kwargs`, what providers send on; the rest is noise of theirs.
_SENT_ON = ("function_call", "audio", "name", "__openai_role__")
_ANY_KEY = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_NOTHING: Mapping[str, Any] = {}
# A merged stream in a conversation is sent as the message it amounts to.
_KINDS = {
    "AIMessageChunk": "ai", "HumanMessageChunk": "human", "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool", "FunctionMessageChunk": "function", "ChatMessageChunk": "chat",
}  # fmt: skip


@lru_cache(maxsize=256)
def _parameters_named(kind: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = PARAMETERS
    if issubclass(kind, Embeddings):
        names = VECTOR_PARAMETERS
    elif issubclass(kind, BaseRetriever):
        names = RETRIEVER_PARAMETERS
    fields = getattr(kind, "model_fields", None)
    if fields is None:  # a class like any other: what it has shows in its instances
        return names if issubclass(kind, Embeddings) else ()
    return tuple(name for name in names if name in fields)


def parameters_of(model: Any) -> tuple[Any, ...]:
    """What a model's own settings contribute to its answers."""
    own = getattr(model, "__dict__", _NOTHING)
    kind: Any = type(model)
    return tuple([own.get(name) for name in _parameters_named(kind)])


def sampled(arguments: Mapping[str, Any], *, warm: bool = False) -> bool:
    """Whether chance is asked for: a temperature above 0, the call's or, where it has none, a model's."""
    temperature = arguments.get("temperature")
    return warm if temperature is None else _is_warm(temperature)


def _is_warm(temperature: Any) -> bool:
    return isinstance(temperature, int | float) and temperature > 0


def _temperature_of(model: Any, bound: Mapping[str, Any]) -> Any:
    return bound.get("temperature", getattr(model, "__dict__", _NOTHING).get("temperature"))


def fingerprint(
    messages: Sequence[BaseMessage],
    stop: Sequence[str] | None,
    arguments: Mapping[str, Any],
    *,
    tenant: str | None,
) -> str | None:
    """Digest of a question, without the model; None when it must not be cached."""
    if (arguments.get("n") or 1) != 1:
        return None
    try:
        asked = [VERSION, tenant, stop, _all_parts(messages), _arguments(arguments)]
    except Uncacheable:
        return None
    try:
        return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError:  # for what is no JSON, of which numbers as keys are sent as texts: of logit_bias
        return digest_of(tenant, stop, asked[3], asked[4])


def digest_of(*parts: Any) -> str | None:
    """Digest of what determines an answer, without the model; None when it must not be cached."""
    try:
        return sha256(orjson.dumps([VERSION, *parts], option=_ANY_KEY)).hexdigest()
    except TypeError:
        return None


def _arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    projected = {
        name: value for name, value in arguments.items() if name not in _NO_MATTER and value is not None
    }
    options = getattr(projected.get("tools"), "options", None)
    if options:
        projected["tools options"] = options
    told = getattr(projected.get("response_format"), "told", None)
    if told is not None:
        projected["response_format schema"] = told
    return projected


def _all_parts(messages: Sequence[BaseMessage]) -> list[Any]:
    """The parts of each message: of a plain text, which most are, without a call for it."""
    parts: list[Any] = []
    for message in messages:
        own = message.__dict__
        content = own["content"]
        if (
            content.__class__ is str
            and not own["additional_kwargs"]
            and ("tool_calls" not in own or not (own["tool_calls"] or own["invalid_tool_calls"]))
            and "tool_call_id" not in own
            and "role" not in own
        ):
            kind = own["type"]
            parts.append((_KINDS.get(kind, kind), own["name"], content))
        else:
            parts.append(message_parts(message))
    return parts


def message_parts(message: BaseMessage) -> list[Any]:
    """What of a message determines the answer to it. Raises Uncacheable."""
    # By what lies in the message, not by class or attribute: pydantic takes its time over both, and of a long
    # conversation this is most of the key.
    own = message.__dict__
    kind = own["type"]
    projected = [_KINDS.get(kind, kind), own["name"], content_parts(own["content"])]
    if "tool_calls" in own:  # an answer's
        calls, bad = own["tool_calls"], own["invalid_tool_calls"]
        if calls:
            projected.append([[call["name"], call["args"], call["id"]] for call in calls])
        if bad:
            projected.append(["invalid", [[call["name"], call["args"], call["id"]] for call in bad]])
    elif "tool_call_id" in own:
        projected.append([own["tool_call_id"], own["status"]])
    elif "role" in own:
        projected.append(own["role"])
    further = own["additional_kwargs"]
    if further:
        sent = {name: further.get(name) for name in _SENT_ON}
        if any(value is not None for value in sent.values()):
            projected.append(sent)
    return projected


class CacheKeys:
    """Keys of a request's answer: one per model identity that may give it.

    Endpoints with one identity answer for each other. By default that is the provider's class, the
    model's name and its sampling parameters; `Endpoint(identity=...)` says it outright.
    """

    MANY = 16  # in a larger pool, parameters are read when the roster changes, not for every call

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known = _Identities(())

    def all(self, request: Request) -> tuple[str, ...]:
        """One key per distinct identity among the endpoints that may serve `request`."""
        if request.fingerprint is None:
            return ()
        return tuple([_key(request, identity) for identity in self.identities(request)])

    def identities(self, request: Request) -> tuple[str, ...]:
        """The distinct identities among the endpoints that may serve `request`."""
        snapshot = self._pool.snapshot
        known = self._identities(snapshot.members)
        if not snapshot.mixed and not request.particular:
            return known.distinct
        return known.of(request)

    @property
    def warm(self) -> bool:
        """Whether some endpoint's own temperature is above 0."""
        return self._identities(self._pool.snapshot.members).warm

    def of(self, request: Request, endpoint: Endpoint) -> str:
        """The key of an answer that `endpoint` gave."""
        return _key(request, self._known.by_id.get(endpoint.id) or identity_of(endpoint))

    def scopes(self, request: Request) -> tuple[str, ...]:
        """Within which an answer to another question may serve: one per identity."""
        return tuple([_scope(request, identity) for identity in self.identities(request)])

    def scope(self, request: Request, endpoint: Endpoint) -> str:
        """Within which an answer of `endpoint` may serve other questions."""
        return _scope(request, self._known.by_id.get(endpoint.id) or identity_of(endpoint))

    def _identities(self, members: tuple[Member, ...]) -> _Identities:
        known = self._known
        if known.members is not members or (len(members) <= self.MANY and known.stale()):
            known = self._known = _Identities(members)
        return known


class _Identities:
    """The identities of a roster, and the parameters they were worked out from."""

    KINDS = 128  # of requests that are kept; of more the oldest are worked out again

    __slots__ = ("_kinds", "_read", "by_id", "distinct", "members", "warm")

    def __init__(self, members: tuple[Member, ...]) -> None:
        self.members = members
        self.by_id = {m.endpoint.id: identity_of(m.endpoint) for m in members}
        self.distinct = tuple(dict.fromkeys(self.by_id.values()))
        self._kinds: dict[Hashable, tuple[str, ...]] = {}
        models = [_unbound(m.endpoint.model) for m in members]
        self.warm = any(_is_warm(_temperature_of(model, bound)) for model, bound in models)
        read = [(model, parameters_of(model)) for model, _ in models if model is not None]
        self._read = [(model, dict(vars(model)), parameters) for model, parameters in read if parameters]

    def of(self, request: Request) -> tuple[str, ...]:
        """The distinct ones among the endpoints that may serve `request`; worked out once for its kind."""
        kind: Hashable = request.role, request.tier, request.model, request.tags, request.needs
        found = self._kinds.get(kind)
        if found is None:
            suited = (m.endpoint.id for m in self.members if lacks(m.endpoint, request) is None)
            found = tuple(dict.fromkeys(map(self.by_id.__getitem__, suited)))
            remember(self._kinds, kind, found, self.KINDS)
        return found

    def stale(self) -> bool:
        """Whether somebody has changed a model's temperature since, or the like."""
        return any(
            _differs(vars(model), before) and parameters_of(model) != parameters
            for model, before, parameters in self._read
        )


def _differs(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether anything at all has changed: one comparison, where looking at each parameter takes long."""
    try:
        return now != before
    except Exception:  # of values that cannot be compared, such as arrays
        return True


def _unbound(model: Any) -> tuple[Any, dict[str, Any]]:
    bound: dict[str, Any] = {}
    while isinstance(model, RunnableBinding):
        bound = {**model.kwargs, **bound}
        model = model.bound
    return model, bound


def identity_of(endpoint: Endpoint) -> str:
    """What model an endpoint is, as far as its answers go."""
    if endpoint.identity is not None:
        return endpoint.identity
    model, bound = _unbound(endpoint.model)
    kind = type(model)
    # The name first: answers are taken back by it (`model/cache_key.py`).
    name = bound.get("model") or getattr(model, "model_name", None) or getattr(model, "model", None)
    parts = [
        name if isinstance(name, str) else kind.__qualname__,
        kind.__module__,
        kind.__qualname__,
        repr(parameters_of(model)) if model is not None else "",
    ]
    if bound:
        parts.append(repr(sorted(_arguments(bound).items(), key=lambda item: item[0])))
    return "|".join(parts)


def _key(request: Request, identity: str) -> str:
    digest = sha256(f"{request.fingerprint}|{identity}".encode()).hexdigest()
    return cache_key(request.tenant, identity, digest)


def _scope(request: Request, identity: str) -> str:
    scope = "" if request.meaning is None else request.meaning.scope
    digest = sha256(f"{scope}|{identity}".encode()).hexdigest()[:32]
    return cache_key(request.tenant, identity, digest)
