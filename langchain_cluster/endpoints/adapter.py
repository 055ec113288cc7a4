"""One endpoint's chat model, made ready to be asked: unwrapped, without retries of its own.

The SDKs retry twice by default, on the endpoint that just failed, and hide that they did: a 503 shows
after 1.5 s instead of 0.05. Here the retries are the cluster's. The user's own object is left as it
is; what is asked is a copy that shares its HTTP connections.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding

from langchain_cluster.endpoints.fingerprint import parameters_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Limits
from langchain_cluster.model.deferred import settled
from langchain_cluster.model.endpoint import Endpoint

_SDKS = {"BaseChatOpenAI": "openai", "ChatAnthropic": "anthropic"}


class Adapter:
    """An endpoint's model and what is known about its kind.

    Attributes:
        model: the chat model that is asked.
        bound: keyword arguments its bindings carry.
        sdk: "openai", "anthropic" or None: whose keyword arguments its calls understand.
        says_why: whether its streams always end with a reason, so that one without is cut off.
    """

    __slots__ = (
        "_astreams",
        "_streams",
        "bound",
        "given",
        "model",
        "original",
        "parameters",
        "says_why",
        "sdk",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.given = endpoint.model
        self.original, self.bound = _unwrap(endpoint)
        self.parameters = parameters_of(self.original)
        kinds = {kind.__name__ for kind in type(self.original).__mro__}
        self.sdk = next((sdk for kind, sdk in _SDKS.items() if kind in kinds), None)
        self.model = _without_retries(self.original, self.sdk)
        package = type(self.original).__module__.partition(".")[0]
        self.says_why = package.startswith("langchain_") and package not in _IN_PROCESS
        kind = type(self.original)
        self._streams = kind._stream is not BaseChatModel._stream
        self._astreams = self._streams or kind._astream is not BaseChatModel._astream

    def stale(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's model was replaced, or its parameters changed since."""
        return self.given is not endpoint.model or self.parameters != parameters_of(self.original)

    def streams(self, arguments: Mapping[str, Any], *, awaited: bool) -> bool:
        """Whether it can be asked for a stream, and may be: as its own `stream` would decide."""
        if not (self._astreams if awaited else self._streams):
            return False
        disabled = self.original.disable_streaming
        if disabled is True or (
            disabled == "tool_calling" and (arguments.get("tools") or "tools" in self.bound)
        ):
            return False
        return getattr(self.original, "streaming", None) is not False or (
            "streaming" not in self.original.model_fields_set
        )

    def arguments(
        self, own: Mapping[str, Any], limits: Limits, headers: Mapping[str, str], now: float, *, stream: bool
    ) -> dict[str, Any]:
        """Keyword arguments for one attempt: the model's bindings, the call's, and the attempt's."""
        arguments = {**self.bound, **own}
        if self.sdk is None:
            return arguments
        if headers:
            arguments["extra_headers"] = {**(arguments.get("extra_headers") or {}), **headers}
        timeout = timeout_of(self.sdk, limits, now, stream=stream)
        if timeout is not None and "timeout" not in arguments:
            arguments["timeout"] = timeout
        return arguments


def timeout_of(sdk: str | None, limits: Limits, now: float, *, stream: bool = False) -> Any:
    """The SDK's own limits, None for none: they end what a limit of ours has left behind."""
    kind = getattr(sys.modules.get(sdk or ""), "Timeout", None)
    if kind is None:
        return None
    read = None if limits.until is None else max(0.05, limits.until - now)
    if stream and limits.idle is not None:
        between = max(limits.idle, limits.first_token or 0.0)
        read = between if read is None else min(read, between)
    if read is None and limits.connect is None:
        return None
    connect = limits.connect if read is None or limits.connect is None else min(limits.connect, read)
    return kind(read, connect=connect if connect is not None else read)


# Their streams come from code in this process, which cannot be cut off without an exception.
_IN_PROCESS = frozenset({"langchain_core", "langchain_tests", "langchain_cluster"})


def _unwrap(endpoint: Endpoint) -> tuple[BaseChatModel, dict[str, Any]]:
    model = settled(endpoint.model)
    bound: dict[str, Any] = {}
    while isinstance(model, RunnableBinding):
        bound = {**model.kwargs, **bound}  # the outer binding was made later, and wins
        model = model.bound
    if not isinstance(model, BaseChatModel):
        kind = type(model).__name__
        raise ConfigError(
            f"its model is a {kind}, not a LangChain chat model or a binding of one",
            key=f"endpoint {endpoint.id!r}",
        )
    return model, bound


def _without_retries(model: BaseChatModel, sdk: str | None) -> BaseChatModel:
    if sdk == "openai":
        clone = model.model_copy()
        for root, leaf in (("root_client", "client"), ("root_async_client", "async_client")):
            client = getattr(model, root, None)
            if client is not None:
                patient = client.with_options(max_retries=0)
                setattr(clone, root, patient)
                setattr(clone, leaf, patient.chat.completions)
        return clone
    if sdk == "anthropic":
        clone = model.model_copy(update={"max_retries": 0})
        vars(clone).pop("_client_params", None)  # built from the old value
        for name in ("_client", "_async_client"):
            client = vars(clone).pop(name, None)
            if client is not None:  # its connections may be watched ones: no others take their place
                vars(clone)[name] = client.with_options(max_retries=0)
        return clone
    return model
