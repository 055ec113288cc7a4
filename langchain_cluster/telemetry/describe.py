"""What a trace says about an endpoint: whose it is, which model, where. Never a credential."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from langchain_cluster.model.deferred import Deferred
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.telemetry import names

_ADDRESSES = ("openai_api_base", "anthropic_api_url", "base_url", "endpoint_url")
_MODELS = ("model_name", "model", "model_id")
_ARGUMENTS = (
    ("temperature", names.REQUEST_TEMPERATURE),
    ("max_tokens", names.REQUEST_MAX_TOKENS),
    ("max_completion_tokens", names.REQUEST_MAX_TOKENS),
    ("top_p", names.REQUEST_TOP_P),
    ("top_k", names.REQUEST_TOP_K),
    ("frequency_penalty", names.REQUEST_FREQUENCY_PENALTY),
    ("presence_penalty", names.REQUEST_PRESENCE_PENALTY),
    ("seed", names.REQUEST_SEED),
)
_ANSWERED = (
    (names.RESPONSE_MODEL, ("model_name", "model")),
    (names.RESPONSE_ID, ("id",)),
    (names.FINISH_REASONS, ("finish_reason", "stop_reason", "done_reason")),
)


def describe(endpoint: Endpoint) -> dict[str, Any]:
    """Span attributes of an endpoint that do not change from attempt to attempt."""
    model = _bare(endpoint.model)
    attributes: dict[str, Any] = {
        names.ENDPOINT: endpoint.id,
        names.TIER: endpoint.tier,
        names.PROVIDER: _provider(model),
    }
    name = model_of(endpoint)
    if name:
        attributes[names.REQUEST_MODEL] = name
    attributes |= _settings(endpoint.model)
    place = urlsplit(endpoint.url or _first_text(model, _ADDRESSES) or "")
    try:
        if place.hostname:
            attributes[names.SERVER_ADDRESS] = place.hostname
            attributes[names.SERVER_PORT] = place.port or (443 if place.scheme == "https" else 80)
    except ValueError:
        pass  # a port that is no number: the attempt itself will tell
    return attributes


def model_of(endpoint: Endpoint) -> str | None:
    """The name of the model it serves, as far as it is known."""
    name: str | None = endpoint.metadata.get("model") or _first_text(_bare(endpoint.model), _MODELS)
    return name


def _bare(model: Any) -> Any:
    while hasattr(model, "bound"):  # a binding of a model
        model = model.bound
    return model


class Described:
    """What is said of endpoints, worked out once for each."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, Role], tuple[Endpoint, dict[str, Any], str]] = {}

    def __call__(self, endpoint: Endpoint, role: Role) -> tuple[Endpoint, dict[str, Any], str]:
        """The endpoint, its attributes (not to be changed), and the name of a span of an attempt there."""
        known = self._known.get((endpoint.id, role))
        if known is None or known[0] is not endpoint:
            operation = _OPERATIONS[role]
            facts = {**describe(endpoint), names.OPERATION: operation}
            model = facts.get(names.REQUEST_MODEL)
            known = endpoint, facts, f"{operation} {model}" if model else operation
            self._known[endpoint.id, role] = known
        return known

    def __len__(self) -> int:
        return len(self._known)

    def forget(self, endpoint: str) -> None:
        """It has left."""
        for role in Role:
            self._known.pop((endpoint, role), None)


_OPERATIONS = {
    Role.LLM: names.ATTEMPT,
    Role.EMBEDDING: names.ATTEMPT_EMBEDDINGS,
    Role.RETRIEVAL: names.ATTEMPT_RETRIEVAL,
}


def asked(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Span attributes of what one call asks for beside its messages."""
    return _wishes(arguments.get)


def _wishes(get: Callable[[str], Any]) -> dict[str, Any]:
    """Numbers alone: a text that ends an answer may be one of the prompt's."""
    said = ((name, get(argument)) for argument, name in _ARGUMENTS)
    return {name: given for name, given in said if type(given) in (int, float)}


def _settings(model: Any) -> dict[str, Any]:
    """What is asked of a model in every call: its own settings, and those of a binding of it."""
    if not hasattr(model, "bound"):
        return _wishes(lambda argument: getattr(model, argument, None))
    return _settings(model.bound) | _wishes((getattr(model, "kwargs", None) or {}).get)


def answered(value: Any) -> dict[str, Any]:
    """Span attributes of an answer beside what it says, where it was kept: a result or a whole chunk."""
    generations = getattr(value, "generations", None)
    generation = generations[0] if generations else value
    message = getattr(generation, "message", None)
    if message is None:
        return {}
    told = (
        message.response_metadata,
        getattr(generation, "generation_info", None),
        getattr(value, "llm_output", None),
    )
    found: dict[str, Any] = {}
    for facts in told:
        if facts:
            for name, keys in _ANSWERED:
                if name not in found:
                    for key in keys:
                        said = facts.get(key)
                        if said and type(said) is str:
                            found[name] = (said,) if name is names.FINISH_REASONS else said
                            break
    return found


def streamed(chunks: Sequence[Any]) -> dict[str, Any]:
    """The same of the chunks of a stream: some providers say it in the first, others in the last."""
    found: dict[str, Any] = {}
    for chunk in (*chunks[:1], *chunks[1:][-_LAST:]):
        found |= answered(chunk)
    return found


_LAST = 3  # the reason, the usage, the mark of the end


def _provider(model: Any) -> str:
    if isinstance(model, Deferred):
        return model.provider
    kinds = {kind.__name__ for kind in type(model).__mro__}
    if "BaseChatOpenAI" in kinds:
        return "openai"
    if "ChatAnthropic" in kinds:
        return "anthropic"
    package = type(model).__module__.partition(".")[0]
    return package.removeprefix("langchain_") if package.startswith("langchain_") else package


def _first_text(model: Any, attributes: tuple[str, ...]) -> str | None:
    for attribute in attributes:
        value = getattr(model, attribute, None)
        if isinstance(value, str) and value:
            return value
    return None
