"""What the settings of a sharing may be."""

from __future__ import annotations

from math import isfinite
from typing import Any

from langchain_cluster.errors import ConfigError


def a_percentage(given: Any, key: str) -> float:
    """`given` as a float. Raises ConfigError for what is not in 0-100."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 100:
        raise ConfigError(f"{given!r} is not a percentage, 0-100", key=key)
    return float(given)


def some_seconds(given: Any, key: str) -> float:
    """`given` as a float. Raises ConfigError for what is no finite number > 0."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not isfinite(given) or given <= 0:
        raise ConfigError(f"{given!r} is not a number of seconds > 0", key=key)
    return float(given)


def is_namespace(given: Any) -> bool:
    """Whether it can be a part of a key: a text without braces, 1-200 characters."""
    return isinstance(given, str) and 0 < len(given.strip()) <= 200 and not set(given) & set("{}")
