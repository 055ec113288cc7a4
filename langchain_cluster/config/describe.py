"""The config in force as data that JSON can hold, defaults included, and without anything secret."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Set
from enum import Enum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from langchain_cluster.config.schema import ClusterConfig
from langchain_cluster.config.secrets import is_secret

MASK = "***"


def describe(config: ClusterConfig) -> dict[str, Any]:
    """Every key with the value in force. Secrets are refused by `load`; what may hide one is masked."""
    described: dict[str, Any] = masked(config.model_dump(mode="python"))
    for endpoint in described["endpoints"]:
        endpoint["url"] = _without_query(endpoint.pop("base_url") or endpoint["url"])
    return described


def variables(config: ClusterConfig) -> dict[str, bool]:
    """The environment variables a config names, and whether each is set."""
    names = set(_named(config.model_dump(mode="python")))
    return {name: bool(os.environ.get(name)) for name in sorted(names)}


def _named(given: Any) -> Iterator[str]:
    if isinstance(given, Mapping):
        for key, value in given.items():
            if str(key).endswith("_env") and isinstance(value, str):
                yield value
            else:
                yield from _named(value)
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _named(each)


def _without_query(url: str | None) -> str | None:
    """Some gateways take their key as a query."""
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=MASK if parts.query else "", fragment=""))


def _hides(key: Any) -> bool:
    """Whether secrets lie there: under their own names, or among headers, whose names tell nothing."""
    return is_secret(str(key)) or str(key).lower().endswith(_SENT)


_SENT = ("headers", "default_query", "extra_query", "cookies")


def _hidden(given: Any) -> Any:
    """The names stay, and those of variables."""
    if not isinstance(given, Mapping):
        return MASK
    return {key: value if str(key).endswith("_env") else MASK for key, value in given.items()}


def masked(given: Any) -> Any:
    """`given` as JSON can hold it: values under names of secrets masked, objects as their kind."""
    if isinstance(given, Mapping):
        return {key: _hidden(value) if _hides(key) else masked(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [masked(each) for each in given]
    if isinstance(given, Set):
        return sorted(masked(each) for each in given)
    if isinstance(given, Enum):
        return given.value
    if isinstance(given, float) and not math.isfinite(given):
        return str(given)
    if given is None or isinstance(given, str | int | float):
        return given
    return f"<{type(given).__name__}>"  # an object somebody handed in through a mapping; its repr may tell
