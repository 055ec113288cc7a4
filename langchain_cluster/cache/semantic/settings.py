"""What a user may give a `SemanticCache`, checked: each mistake is one error that says what is valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_cluster.cache.semantic.guards import Guard
from langchain_cluster.cache.semantic.policy import Fixed, Learned, ServePolicy
from langchain_cluster.cache.semantic.share import Journals
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import seconds_of

WORST = 0.2  # wrong answers per hit: whoever bears more needs no policy that learns


def a_policy(threshold: Any, error_rate: Any, otherwise: float) -> ServePolicy:
    """The policy that a threshold and an error rate mean. Raises ConfigError."""
    if threshold is not None and not (_number(threshold) and 0 < threshold <= 1):
        raise ConfigError(
            f"{threshold!r} is no cosine to ask for: above 0 (which would serve anything) and at most 1"
            " (nearly nothing)",
            key="SemanticCache.threshold",
        )
    if error_rate is None:
        return Fixed(otherwise if threshold is None else float(threshold))
    if not _number(error_rate) or not 0 < error_rate < WORST:
        raise ConfigError(
            f"{error_rate!r} is no part of the hits that may be wrong: above 0 and below {WORST:g}",
            key="SemanticCache.error_rate",
        )
    return (
        Learned(float(error_rate))
        if threshold is None
        else Learned(float(error_rate), floor=float(threshold))
    )


def a_rate(given: Any, name: str, otherwise: float) -> float:
    """A part of 1. Raises ConfigError."""
    if given is None:
        return otherwise
    if not _number(given) or not 0 <= given <= 1:
        raise ConfigError(f"{given!r} is not a number from 0 to 1", key=f"SemanticCache.{name}")
    return float(given)


def a_size(given: Any, name: str) -> int:
    """A count. Raises ConfigError."""
    if type(given) is not int or given < 1:
        raise ConfigError(f"{given!r} is not an integer >= 1", key=f"SemanticCache.{name}")
    return given


def lifetime(ttl: float | str | None) -> float | None:
    """Seconds. Raises ConfigError."""
    return None if ttl is None else seconds_of(ttl, "SemanticCache.ttl")


def index_of(given: Any) -> Any:
    """What makes an index, or None. Raises ConfigError."""
    if given is not None and not callable(given):
        raise ConfigError(
            f"{type(given).__name__} is no function from dimensions to an index:"
            " give a class such as Exhaustive",
            key="SemanticCache.index",
        )
    return given


def journals_of(given: Any) -> Journals:
    """What gives journals. Raises ConfigError."""
    if not callable(getattr(given, "open", None)) or isinstance(given, type):
        raise ConfigError(
            f"{type(given).__name__} gives no journals: give RedisJournals.from_url(...)",
            key="SemanticCache.share",
        )
    return given  # type: ignore[no-any-return]


def guards_of(given: Any) -> Sequence[Guard]:
    """Guards. Raises ConfigError."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{type(given).__name__} is not a list of guards", key="SemanticCache.guards")
    for guard in given:
        if not isinstance(guard, Guard) or isinstance(guard, type):
            raise ConfigError(
                f"{guard!r} is no guard: it has no name, read and differ", key="SemanticCache.guards"
            )
    return given


def _number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
