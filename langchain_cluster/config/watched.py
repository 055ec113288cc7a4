"""Models whose HTTP connections are ours, so that where each leads is looked at before anything is sent.

A name that is allowed today may lead elsewhere tomorrow (DNS rebinding). That can only be seen where the
connection is made, which a provider's library has to leave to us. Where it does not, a name is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.errors import ConfigError

if TYPE_CHECKING:
    from langchain_cluster.endpoints.connections import Connections

_CLIENTS = {
    "openai": ("http_client", "http_async_client"),
    "ollama": ("sync_client_kwargs", "async_client_kwargs"),
    "anthropic": (),  # takes none: its clients are replaced
}
_NO_NETWORK = "scripted"
_PROXIES = ("anthropic_proxy", "openai_proxy")


def is_watched(provider: str) -> bool:
    """Whether models of this provider take connections of ours."""
    return provider in _CLIENTS


def place_problem(provider: str, url: str, params: dict[str, Any]) -> str | None:
    """Why no model of this provider may be made for `url`: it is a name, and nobody sees where it leads."""
    if is_watched(provider) or provider == _NO_NETWORK or "http_client" in params:
        return None
    try:
        ip_address(urlsplit(url).hostname or "")
    except ValueError:
        seen = ", ".join(sorted(_CLIENTS))
        return f"its address is a name, and where one leads is only looked at for {seen}: not for {provider}"
    return None


def library_of(provider: str) -> str:
    """The HTTP library whose clients the provider's SDK takes: "httpx", or its successor "httpx2"."""
    try:
        kind: Any = getattr(import_module(provider), "DefaultHttpxClient", object)
    except ImportError:
        return "httpx"  # what is missing is told when the model is made
    roots = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next((root for root in roots if root.startswith("httpx")), "httpx")


def watched(config: EndpointConfig, make: Callable[[EndpointConfig], Any], connections: Connections) -> Any:
    """The model `make` makes of `config`, with all its requests over `connections`.

    Raises:
        ConfigError: of `make`; a proxy, behind which nobody sees where a connection leads.
    """
    for name in _PROXIES:
        if config.params.get(name) is not None or config.params.get(f"{name}_env") is not None:
            raise ConfigError("discovered endpoints are not called by way of a proxy", key=f"params.{name}")
    if config.provider == "anthropic":
        return _anthropic(make(config), connections)
    if config.provider == "ollama":
        own = {
            name: {**(config.params.get(name) or {}), "follow_redirects": False, "transport": transport}
            for name, transport in zip(
                _CLIENTS["ollama"], (connections.transport, connections.async_transport), strict=True
            )
        }
    else:
        clients = (connections.client, connections.async_client)
        own = dict(zip(_CLIENTS[config.provider], clients, strict=True))
    return make(config.model_copy(update={"params": {**config.params, **own}}))


def _anthropic(model: Any, connections: Connections) -> Any:
    """ChatAnthropic makes its SDK's clients when first asked, and keeps them: these are there before."""
    sdk, kind = import_module("anthropic"), type(model)
    made = [getattr(kind, name, None) for name in ("_client", "_async_client")]
    if not all(isinstance(each, cached_property) for each in made):
        raise ConfigError(
            "this version of langchain-anthropic makes its connections in another way, and none of a "
            "discovered endpoint is made that nobody looks at",
            key="factory.model",
        )
    settings = model._client_params
    vars(model)["_client"] = sdk.Client(**settings, http_client=connections.client)
    vars(model)["_async_client"] = sdk.AsyncClient(**settings, http_client=connections.async_client)
    return model
