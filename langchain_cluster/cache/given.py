"""What a user gives as a store, or as several: itself, a LangChain cache as one, or a clear error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_cluster.cache.borrowed import as_store
from langchain_cluster.errors import ConfigError


def a_store(given: Any, key: str, *, hint: str = "") -> Any:
    """The store itself.

    Raises:
        ConfigError: it is none, or the class of one.
    """
    if isinstance(given, type):
        raise ConfigError(f"{given.__name__} is a class: give {given.__name__}(...)", key=key)
    store = as_store(given)
    if not callable(getattr(store, "aget", None)) or not callable(getattr(store, "mget", None)):
        raise ConfigError(f"{type(given).__name__} is no CacheStore{hint}", key=key)
    return store


def stores(given: Any, key: str) -> tuple[Any, ...]:
    """Several of them. Raises as `a_store`."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"{type(given).__name__} is not a list of stores", key=key)
    return tuple([a_store(one, key) for one in given])
