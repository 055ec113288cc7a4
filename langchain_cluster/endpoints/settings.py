"""What one call is told through its `RunnableConfig`: `config={"configurable": {"cluster": {...}}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.policy import Policy

PRIORITIES = ("critical", "normal", "sheddable")
_KEYS = ("policy", "key", "tenant", "tier", "timeout", "priority", "cache", "cache_tags", "tags", "zone")
_WHERE = "configurable.cluster"

SCOPE = "_cluster_scope"
"""The one private argument that carries a call's config through `BaseChatModel` to our methods."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """The keys of `configurable.cluster`, and who asks.

    Args:
        policy: a whole policy, or overrides of the one in force.
        key: affinity; the LangGraph thread if None. tenant: whose call this is.
        tier, zone, tags: narrow the endpoints. priority: "critical", "normal" or "sheddable".
        timeout: the call's whole time, seconds. cache: True, False or "refresh".
        cache_tags: under which its answer can be taken back, besides those of the policy.
        agent: `lc_agent_name` of the run. graph: whether it is a node's of a LangGraph graph.
    """

    policy: Policy | Mapping[str, Any] | None = None
    key: str | None = None
    tenant: str | None = None
    tier: str | None = None
    timeout: float | str | None = None
    priority: str = "normal"
    cache: bool | Literal["refresh"] | None = None
    cache_tags: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    zone: str | None = None
    agent: str | None = None
    graph: bool = False

    def over(self, policy: Policy) -> Policy:
        """`policy` with this call's own wishes. Raises ConfigError for values that are not valid."""
        if self.policy is not None:
            policy = self.policy if isinstance(self.policy, Policy) else policy.but(**self.policy)
        if self.cache is not None:
            policy = policy.but(cache=self.cache)
        if self.cache_tags:
            policy = policy.but(cache_tags=tuple(sorted({*policy.cache_tags, *self.cache_tags})))
        if self.timeout is not None:
            policy = policy.within(self.timeout)
        return policy


_NOTHING_SAID, _IN_A_GRAPH = CallSettings(), CallSettings(graph=True)
_NO_METADATA: Mapping[str, Any] = {}


def settings_of(config: Mapping[str, Any]) -> CallSettings:
    """Read a config.

    Raises:
        ConfigError: an unknown key under `configurable.cluster`, or a value of the wrong type.
    """
    configurable = config.get("configurable") or {}
    metadata = config.get("metadata") or _NO_METADATA
    agent, graph = metadata.get("lc_agent_name"), "langgraph_node" in metadata
    given = configurable.get("cluster")
    thread = configurable.get("thread_id")
    if given is None and thread is None and agent is None:
        return _IN_A_GRAPH if graph else _NOTHING_SAID
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{given!r} is not a mapping", key=_WHERE, valid=_KEYS)
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"unknown key {key!r}", key=_WHERE, valid=_KEYS, got=str(key))
    return CallSettings(
        policy=_policy(given.get("policy")),
        key=_text(given, "key") or (None if thread is None else str(thread)),
        tenant=_text(given, "tenant"),
        tier=_text(given, "tier"),
        timeout=given.get("timeout"),
        priority=_one_of(given, "priority", PRIORITIES, "normal"),
        cache=_cache(given.get("cache")),
        cache_tags=_tags(given.get("cache_tags"), "cache_tags"),
        tags=_tags(given.get("tags")),
        zone=_text(given, "zone"),
        agent=agent if isinstance(agent, str) else None,
        graph=graph,
    )


def _text(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{value!r} is not a text", key=f"{_WHERE}.{key}")
    return value


def _one_of(given: Mapping[str, Any], key: str, valid: tuple[str, ...], default: str) -> str:
    value = given.get(key, default)
    if value not in valid:
        raise ConfigError(f"unknown {key} {value!r}", key=f"{_WHERE}.{key}", valid=valid, got=str(value))
    return str(value)


def _policy(value: Any) -> Policy | Mapping[str, Any] | None:
    if value is None or isinstance(value, Policy | Mapping):
        return value
    raise ConfigError(f"{value!r} is neither a Policy nor a mapping", key=f"{_WHERE}.policy")


def _cache(value: Any) -> Any:
    if value is None or value is True or value is False or value == "refresh":
        return value
    raise ConfigError(f"unknown value {value!r}", key=f"{_WHERE}.cache", valid=("True", "False", "'refresh'"))


def _tags(value: Any, key: str = "tags") -> frozenset[str]:
    if value is None:
        return frozenset()
    if isinstance(value, str):
        return frozenset({value})
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(t, str) for t in value):
        raise ConfigError(f"{value!r} is not a list of texts", key=f"{_WHERE}.{key}")
    return frozenset(value)


class Scope:
    """One call's settings, and the streams it has opened: an abandoned one is closed with the call.

    Args:
        run: which one it is of, as `_stream` is not told.
    """

    __slots__ = ("run", "settings", "streams")

    def __init__(self, settings: CallSettings, run: Any = None) -> None:
        self.settings, self.run = settings, run
        self.streams: list[Any] = []

    def close(self) -> None:
        """Close the streams now, not when they are collected."""
        for stream in self.streams:
            stream.close()

    async def aclose(self) -> None:
        """Close the async streams now, not when they are collected."""
        for stream in self.streams:
            await stream.aclose()
