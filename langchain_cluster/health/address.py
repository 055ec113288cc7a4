"""Where an endpoint can be looked at: its url, or the one its model talks to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from langchain_cluster.model.endpoint import Endpoint

# What chat models call the address they talk to: OpenAI's and its kin's, Anthropic's, Azure's.
_NAMES = ("openai_api_base", "anthropic_api_url", "azure_endpoint", "base_url", "endpoint_url")
_PORTS = {"http": 80, "https": 443}


def base_of(endpoint: Endpoint) -> str | None:
    """The root of its server, without the `/v1` that an API's address ends with; None if unknown."""
    base = endpoint.url or _of_model(endpoint.model)
    if not base or "://" not in base:
        return None
    return base.rstrip("/").removesuffix("/v1").rstrip("/")


def host_of(endpoint: Endpoint) -> tuple[str, int] | None:
    """(host, port) of its server; None if unknown. `host:port` and `tcp://host:port` are read too."""
    given = endpoint.url or _of_model(endpoint.model)
    if not given:
        return None
    try:
        parts = urlsplit(given if "://" in given else f"//{given}")
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _of_model(model: Any) -> str | None:
    while model is not None:
        for name in _NAMES:
            value = getattr(model, name, None)
            if isinstance(value, str) and value:
                return value
        model = getattr(model, "bound", None)  # a binding: what it binds knows
    return None
