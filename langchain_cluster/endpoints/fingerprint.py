"""The key of a question: everything that determines its answer, and nothing else.

What goes in is chosen by allow-list for messages and by deny-list for parameters: an unknown field of
a message is provider noise that would make replays miss, an unknown parameter may change the answer.
What cannot be projected faithfully makes the question uncacheable; it is never guessed from a `repr`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableBinding

from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.match import lacks
from langchain_cluster.pool.pool import Pool

VERSION = "1"
# Attributes of a chat model that change what it answers; read anew for each call.
PARAMETERS = (
    "model_name", "model", "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens",
    "max_tokens_to_sample", "stop", "stop_sequences", "seed", "n", "presence_penalty",
    "frequency_penalty", "logit_bias", "reasoning", "reasoning_effort", "thinking", "model_kwargs",
    "extra_body", "revision", "model_id", "deployment_name", "verbosity",
)  # fmt: skip
# Arguments of a call that do not.
_NO_MATTER = frozenset(
    {
        "timeout", "request_timeout", "max_retries", "stream", "streaming", "stream_usage",
        "stream_options", "callbacks", "tags", "metadata", "extra_headers", "api_key", "user",
        "run_name", "run_id", "ls_structured_output_format", "structured_output_format",
    }
)  # fmt: skip
_TEXT_BLOCKS = frozenset({"text", "text-plain"})


class Uncacheable(Exception):
    """This question has no faithful key."""


def parameters_of(model: BaseChatModel) -> tuple[Any, ...]:
    """What a chat model's own settings contribute to its answers."""
    return tuple(map(model.__dict__.get, PARAMETERS))


def sampled(arguments: Mapping[str, Any]) -> bool:
    """Whether the call asks for chance: a temperature above 0."""
    temperature = arguments.get("temperature")
    return isinstance(temperature, int | float) and temperature > 0


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
        asked = [VERSION, tenant, stop, [_message(m) for m in messages], _arguments(arguments)]
        return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (Uncacheable, TypeError):  # TypeError: orjson's, for what is no JSON
        return None


def _arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    projected = {
        name: value for name, value in arguments.items() if name not in _NO_MATTER and value is not None
    }
    options = getattr(projected.get("tools"), "options", None)
    if options:
        projected["tools options"] = options
    return projected


def _message(message: BaseMessage) -> list[Any]:
    content = message.content
    projected: list[Any] = [
        message.type,
        message.name,
        content if isinstance(content, str) else [_block(block) for block in content],
    ]
    calls = getattr(message, "tool_calls", None)
    if calls:
        projected.append([[call["name"], call["args"], call["id"]] for call in calls])
    answered = getattr(message, "tool_call_id", None)
    if answered:
        projected.append([answered, getattr(message, "status", None)])
    role = getattr(message, "role", None)
    if role:
        projected.append(role)
    return projected


def _block(block: Any) -> Any:
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        raise Uncacheable
    kind = block.get("type")
    if kind in _TEXT_BLOCKS:
        return ["text", block.get("text")]
    if kind in ("tool_use", "tool_call"):
        return ["call", block.get("name"), block.get("input", block.get("args")), block.get("id")]
    if kind in ("image", "audio", "file", "video", "input_audio", "image_url"):
        return [kind, _media(block)]
    raise Uncacheable


def _media(block: Mapping[str, Any]) -> list[Any]:
    """Media by its bytes. What an address shows may change, so a question with one is not cached."""
    source = block.get("image_url", block.get("source", block.get("input_audio", block)))
    if isinstance(source, Mapping):
        address = source.get("url")
        data = source.get("base64") or source.get("data")
        detail = source.get("detail")
    else:
        address, data, detail = source, None, None
    if data is None and isinstance(address, str) and address.startswith("data:"):
        data = address.partition(",")[2]
    if not isinstance(data, str):
        raise Uncacheable
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise Uncacheable from None
    return [sha256(raw).hexdigest(), detail, block.get("mime_type")]


class CacheKeys:
    """Keys of a request's answer: one per model identity that may give it.

    Endpoints with one identity answer for each other. By default that is the provider's class, the
    model's name and its sampling parameters; `Endpoint(identity=...)` says it outright.
    """

    MANY = 16  # above this, identities are worked out per roster, not per call

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: tuple[Any, dict[str, str]] = (None, {})

    def all(self, request: Request) -> tuple[str, ...]:
        """One key per distinct identity among the endpoints that may serve `request`."""
        if request.fingerprint is None:
            return ()
        identities = {
            self._identity(m.endpoint): None
            for m in self._pool.snapshot.members
            if lacks(m.endpoint, request) is None
        }
        return tuple(_key(request, identity) for identity in identities)

    def of(self, request: Request, endpoint: Endpoint) -> str:
        """The key of an answer that `endpoint` gave."""
        return _key(request, self._identity(endpoint))

    def _identity(self, endpoint: Endpoint) -> str:
        if endpoint.identity is not None:
            return endpoint.identity
        members = self._pool.snapshot.members
        if len(members) <= self.MANY:
            return identity_of(endpoint)
        roster, known = self._known
        if roster is not members:
            known = {}
            self._known = (members, known)
        if endpoint.id not in known:
            known[endpoint.id] = identity_of(endpoint)
        return known[endpoint.id]


def identity_of(endpoint: Endpoint) -> str:
    """What model an endpoint is, as far as its answers go."""
    model = endpoint.model
    bound: dict[str, Any] = {}
    while isinstance(model, RunnableBinding):
        bound = {**model.kwargs, **bound}
        model = model.bound
    kind = type(model)
    parts = [kind.__module__, kind.__qualname__, repr(parameters_of(model)) if model is not None else ""]
    if bound:
        parts.append(repr(sorted(_arguments(bound).items(), key=lambda item: item[0])))
    return "|".join(parts)


def _key(request: Request, identity: str) -> str:
    scope = sha256((request.tenant or "").encode()).hexdigest()[:12]
    digest = sha256(f"{request.fingerprint}|{identity}".encode()).hexdigest()
    return f"lc:{{{scope}}}:{digest}"
