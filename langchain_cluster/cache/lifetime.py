"""How long does an entry live? The same answer in every store."""

from __future__ import annotations

from math import isfinite
from random import Random

from langchain_cluster.errors import ConfigError

JITTER = 0.1  # of a store's own time to live: entries stored together must not all be asked anew together


def checked(ttl: float, name: str = "ttl") -> float:
    """A time to live as it was given.

    Raises:
        ConfigError: it is not a finite number of seconds > 0. To remove an entry, delete it.
    """
    if type(ttl) not in (int, float) or not isfinite(ttl) or ttl <= 0:
        raise ConfigError(f"{name} {ttl!r} is not a finite number of seconds > 0", key="cache")
    return ttl


def lifetime(given: float | None, own: float | None, rng: Random) -> float | None:
    """Seconds an entry lives, None for ever: as long as was asked for, or else the store's own time.

    Only the store's own time is spread: who asks for a time gets it.
    """
    if given is not None:
        return checked(given)
    return None if own is None else own * (1.0 + JITTER * (2.0 * rng.random() - 1.0))


def sooner(one: float | None, other: float | None) -> float | None:
    """The shorter of two lifetimes; None is for ever."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
