"""How is a cache asked? In place when it answers in time by itself, else with a limit of ours.

A store may say how long an operation takes at most by timeouts of its own, as `longest` seconds: 0 for one
in memory. It counts for the class that says so, not for those that inherit from it: what they add may block.
A store of several layers has `find` and `put` beside `get` and `set`: which layer it was, and which failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from langchain_cluster.plan.effects import Claimed, Found


def longest(store: Any) -> float:
    """Seconds the store may block by its own account; infinite if it has none."""
    return float(store.longest) if "longest" in vars(type(store)) else inf


def glance(store: Any, keys: Sequence[str]) -> Found | None:
    """What it can tell without waiting for anything."""
    return store.glance(keys) if hasattr(store, "glance") else None


def find(store: Any, keys: Sequence[str]) -> Found | None:
    """The first of `keys` that it holds."""
    if hasattr(store, "find"):
        return store.find(keys)  # type: ignore[no-any-return]
    raws: Sequence[bytes | None] = [store.get(keys[0])] if len(keys) == 1 else store.mget(keys)
    return _first(raws, store.name)


async def afind(store: Any, keys: Sequence[str]) -> Found | None:
    """The asyncio twin of `find`."""
    if hasattr(store, "afind"):
        return await store.afind(keys)  # type: ignore[no-any-return]
    raws = [await store.aget(keys[0])] if len(keys) == 1 else await store.amget(keys)
    return _first(raws, store.name)


def _first(raws: Sequence[bytes | None], layer: str) -> Found | None:
    raw = next((raw for raw in raws if raw is not None), None)
    return None if raw is None else Found(raw, layer)


def find_each(store: Any, keys: Sequence[str]) -> list[Found | None]:
    """What it holds under each of `keys`."""
    if hasattr(store, "find_each"):
        return store.find_each(keys)  # type: ignore[no-any-return]
    return [None if raw is None else Found(raw, store.name) for raw in store.mget(keys)]


async def afind_each(store: Any, keys: Sequence[str]) -> list[Found | None]:
    """The asyncio twin of `find_each`."""
    if hasattr(store, "afind_each"):
        return await store.afind_each(keys)  # type: ignore[no-any-return]
    return [None if raw is None else Found(raw, store.name) for raw in await store.amget(keys)]


def claims(store: Any) -> bool:
    """Whether processes agree there on who asks a new question."""
    return bool(getattr(store, "claims", False))


def claim(store: Any, keys: Sequence[str], streaming: bool) -> Claimed | None:
    """Claim a question, where that can be."""
    return store.claim(keys, streaming) if claims(store) else None


async def aclaim(store: Any, keys: Sequence[str], streaming: bool) -> Claimed | None:
    """The asyncio twin of `claim`."""
    return await store.aclaim(keys, streaming) if claims(store) else None


def put(store: Any, key: str, raw: bytes, ttl: float | None = None) -> tuple[str, ...] | None:
    """Write; the names of the errors of layers that could not be written.

    `ttl`: seconds, the store's own if None.
    """
    if ttl is None and hasattr(store, "put"):
        return store.put(key, raw)  # type: ignore[no-any-return]
    store.set(key, raw, ttl)
    return None


async def aput(store: Any, key: str, raw: bytes, ttl: float | None = None) -> tuple[str, ...] | None:
    """The asyncio twin of `put`."""
    if ttl is None and hasattr(store, "aput"):
        return await store.aput(key, raw)  # type: ignore[no-any-return]
    await store.aset(key, raw, ttl)
    return None
