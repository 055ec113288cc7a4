"""What an operator may do to a cluster by hand: each action by its name in the address, and what it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from langchain_cluster.admin.kept import find, take_back
from langchain_cluster.cluster import Cluster
from langchain_cluster.errors import ConfigError
from langchain_cluster.pool.pool import Pool
from langchain_cluster.warming.hot import hottest, shape

_LOG = logging.getLogger("langchain_cluster.admin")
LONGEST = 512  # characters of a cache pattern


def _drain(pool: Pool, id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"called_back": pool.drain(id, migrate=given.get("migrate", False))}


def _plainly(name: str) -> Callable[[Pool, str, Mapping[str, Any]], dict[str, Any]]:
    def act(pool: Pool, id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        getattr(pool, name)(id)
        return {}

    return act


# Name in the address -> (what is done, the fields of its body with their types).
ACTIONS: dict[str, tuple[Callable[[Pool, str, Mapping[str, Any]], dict[str, Any]], dict[str, type]]] = {
    "drain": (_drain, {"migrate": bool}),
    "undrain": (_plainly("undrain"), {}),
    "force-open": (_plainly("force_open"), {}),
    "force-close": (_plainly("force_close"), {}),
    "reset": (_plainly("reset"), {}),
    "recover": (_plainly("recover"), {}),
    "disable-breaker": (_plainly("disable_breaker"), {}),
    "metrics-only": (_plainly("metrics_only"), {}),
    "enable-breaker": (_plainly("enable_breaker"), {}),
}


def fields(body: bytes, known: Mapping[str, type]) -> dict[str, Any]:
    """The fields of a body. Raises ConfigError for what is no object, and for a field that is not known."""
    if not body:
        return {}
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ConfigError("the body is not JSON", key="body") from None
    if not isinstance(given, dict):
        raise ConfigError("the body is not a JSON object", key="body")
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"unknown field {name!r}", key="body", valid=sorted(known), got=name)
        if type(value) is not known[name]:
            raise ConfigError(f"this is not of type {known[name].__name__}", key=f"body.{name}")
    return given


def act(cluster: Cluster, action: str, id: str, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Do it to one endpoint, and write down that `by` asked for it.

    Raises:
        ConfigError: no such endpoint.
    """
    done = ACTIONS[action][0](cluster.pool, id, given)
    _LOG.warning("%s of endpoint %r, asked for from %s", action, id, by)
    return {"done": action, **done}


def rebalance(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Move calls that wait where more than their part is."""
    moved = cluster.pool.rebalance()
    _LOG.warning("rebalance, asked for from %s", by)
    return {"done": "rebalance", "called_back": moved}


def promote(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Make a standby level, or the next one, a part of the first."""
    level = cluster.pool.promote(given.get("level"))
    _LOG.warning("promote of level %s, asked for from %s", level, by)
    return {"done": "promote", "level": level}


def demote(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Make it a standby again."""
    if "level" not in given:
        raise ConfigError("which level?", key="body.level")
    changed = cluster.pool.demote(given["level"])
    _LOG.warning("demote of level %s, asked for from %s", given["level"], by)
    return {"done": "demote", "level": given["level"], "changed": changed}


def _short(pattern: str) -> None:
    if len(pattern) > LONGEST:
        raise ConfigError(f"it has at most {LONGEST} characters", key="body.pattern")


def clear_cache(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Remove what is cached: the keys that match `pattern`, or with `semantic` all that was kept by meaning.

    Raises:
        ConfigError: there is no such cache, or both a pattern and the cache that knows none.
    """
    semantic, pattern = given.get("semantic", False), given.get("pattern", "*")
    _short(pattern)
    if semantic and pattern != "*":
        raise ConfigError("the semantic cache can only be cleared whole", key="body.pattern")
    store: Any = cluster.semantic_cache if semantic else cluster.cache
    if not callable(getattr(store, "clear", None)):
        raise ConfigError(
            f"there is no {'semantic ' if semantic else ''}cache that can be cleared", key="cache"
        )
    removed = store.clear() if semantic else store.clear(pattern)
    _LOG.warning("cache cleared of %r, asked for from %s", pattern, by)
    return {"done": "clear", "removed": removed}


def hottest_entries(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """What is read most often from the cache in memory, with the answers: to warm another process by."""
    found = hottest(cluster, given.get("n", 1_000))
    _LOG.warning("%d hottest entries of the cache, asked for from %s", len(found), by)
    return {"done": "hottest", "entries": [shape(hot) for hot in found]}


def cached(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """What is kept under a key, or for a prompt: it is an answer, so reading it takes the token."""
    return {"done": "get", "found": find(cluster, given)}


def invalidate(cluster: Cluster, given: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Remove what is kept, by a pattern of keys, a tenant, model or tag."""
    _short(given.get("pattern", ""))
    removed = take_back(cluster, given)
    _LOG.warning("cache invalidated by %s, asked for from %s", ", ".join(given), by)
    return {"done": "invalidate", "removed": removed}


OF_ALL: dict[str, tuple[Callable[[Cluster, Mapping[str, Any], str], dict[str, Any]], dict[str, type]]] = {
    "rebalance": (rebalance, {}),
    "promote": (promote, {"level": int}),
    "demote": (demote, {"level": int}),
    "cache/clear": (clear_cache, {"pattern": str, "semantic": bool}),
    "cache/get": (cached, {"key": str, "prompt": str, "system": str, "tenant": str}),
    "cache/invalidate": (invalidate, {"pattern": str, "tenant": str, "model": str, "tag": str}),
    "cache/hottest": (hottest_entries, {"n": int}),
}
