"""The form of cache keys, and which of them belong to a tenant or a model.

`lc:{<tenant>}:<model>:<digest>`: the digest is of everything that determines the answer, the other two among
it; they stand there once more so that they can be taken back together. The braces put a tenant's keys into
one slot of a Redis cluster.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from langchain_cluster.errors import ConfigError

_SHORT = 12  # hex digits


@lru_cache(maxsize=4096)
def scope(tenant: str | None) -> str:
    """A tenant's part of the key; that of calls without one for None or ""."""
    return _short(tenant or "")


@lru_cache(maxsize=1024)
def mark(identity: str) -> str:
    """A model's part of the key, by its name or by a longer identity that begins with it and a `|`."""
    return _short(identity.partition("|")[0])


def _short(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT]


def cache_key(tenant: str | None, identity: str, digest: str) -> str:
    """The key of an answer."""
    return f"lc:{{{scope(tenant)}}}:{mark(identity)}:{digest}"


def keys_of(tenant: str | None, model: str | None) -> str:
    """A glob that means the keys of a tenant's and a model's answers; None is any.

    Raises:
        ConfigError: one of them is no text.
    """
    for name, value in (("tenant", tenant), ("model", model)):
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{name} {value!r} is not a text", key="cache.invalidate")
    whose = "*" if tenant is None else scope(tenant)
    return f"lc:{{{whose}}}:{'*' if model is None else mark(model)}:*"
