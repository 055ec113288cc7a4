"""What the faces of a cluster have in common: from what a user gives to a running cluster and a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.runnables import ensure_config

from langchain_cluster.cache.given import a_store as checked_store
from langchain_cluster.cache.memory import MemoryCache
from langchain_cluster.cluster import Cluster
from langchain_cluster.endpoints.roles import serving
from langchain_cluster.endpoints.settings import CallSettings, settings_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.policy import Policy

OWN_OPTIONS = (
    "agents", "alerts", "balancer", "breaker", "budgets", "clock", "concurrency", "discovery",
    "drain_timeout", "factory", "health", "limits", "log", "outlier", "queue", "quotas", "seed",
    "semantic_cache", "sharing", "slow_start", "stability", "telemetry", "throttle", "tracing",
)  # fmt: skip
"""Arguments that every face hands to its cluster as they are."""
_SHORT = ("endpoints", "cluster", "policy", "cache", "timeout", "max_retries")


def a_store(cache: Any) -> Any:
    """The store a user means: itself, a memory cache for True, None for False, a LangChain cache as a store.

    Raises:
        ConfigError: it is none of these.
    """
    if cache is None or cache is False:
        return None
    if cache is True:
        return MemoryCache()
    return checked_store(cache, "cache", hint=": give MemoryCache(), True or None")


def a_policy(
    policy: Policy | Mapping[str, Any] | None, timeout: float | None, max_retries: int | None
) -> Policy | None:
    """The policy a user means, with the short spellings of two of its values. Raises ConfigError."""
    if isinstance(policy, Mapping):
        policy = Policy(**policy)
    elif policy is not None and not isinstance(policy, Policy):
        raise ConfigError(f"{type(policy).__name__} is not a Policy", key="policy")
    short = {"timeout": timeout, "attempts": None if max_retries is None else max_retries + 1}
    short = {name: value for name, value in short.items() if value is not None}
    return (policy or Policy()).but(**short) if short else policy


def a_cluster(
    face: str,
    role: Role,
    endpoints: Iterable[Endpoint],
    cluster: Cluster | None,
    policy: Policy | None,
    cache: Any,
    options: dict[str, Any],
) -> Cluster:
    """The cluster behind a face for `role`: a new one, or the one that is given.

    Raises:
        ConfigError: an argument that is not valid, both a cluster and endpoints, or nobody of `role`.
    """
    if cluster is None:
        for name in options:
            if name not in OWN_OPTIONS:
                valid = sorted(
                    {*OWN_OPTIONS, "endpoints", "cluster", "policy", "cache", "timeout", "max_retries"}
                )
                raise ConfigError(f"unknown argument {name!r}", key=face, valid=valid, got=name)
        given: Any = endpoints
        if isinstance(given, Iterable):  # if not, the cluster says so
            given = [serving(e, role) if isinstance(e, Endpoint) else e for e in given]
        cluster = Cluster(given, policy=policy, cache=a_store(cache), **options)
    else:
        nothing_beside(face, cluster, endpoints, cache, options)
    somebody(face, role, cluster)
    return cluster


def nothing_beside(
    face: str, cluster: Any, endpoints: Iterable[Endpoint], cache: Any, options: Iterable[str]
) -> None:
    """Raises ConfigError when `cluster` is none, or when what is its own is given beside it."""
    if not isinstance(cluster, Cluster):
        raise ConfigError(f"a {type(cluster).__name__} is not a Cluster", key=f"{face}.cluster")
    own = [*sorted(options), *(["cache"] if cache is not None else []), *["endpoints" for _ in endpoints]]
    if own:
        raise ConfigError("is the cluster's: give it to the cluster, or no cluster", key=f"{face}.{own[0]}")


def somebody(face: str, role: Role, cluster: Cluster) -> None:
    """Raises ConfigError when nobody in the cluster has the role, and nobody will be discovered."""
    if not cluster.discovers and not any(role in m.endpoint.roles for m in cluster.pool):
        raise ConfigError(
            f"no endpoint has the role {role.value}: give one whose model does that",
            key=f"{face}.endpoints",
        )


def policy_of_agent(
    cluster: Cluster, agent: str, own: Policy | None, overrides: Mapping[str, Any]
) -> Policy | None:
    """The policy of a view for `agent`; None: whatever the cluster says. Raises ConfigError."""
    if not agent or not isinstance(agent, str):
        raise ConfigError(f"{agent!r} is no agent's name: give a text", key="for_agent")
    if not overrides:
        return None if agent in cluster.agents else own
    return (cluster.agents.get(agent) or own or cluster.policy).but(**overrides)


def settings_for(config: Any, own: Mapping[str, Any]) -> CallSettings:
    """What a call is told by its config (None: that of the run it is made in), and over it by its view.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    config = ensure_config(config)
    if own:
        configurable = config.get("configurable") or {}
        given = configurable.get("cluster")
        if given is None or isinstance(given, Mapping):
            configurable = {**configurable, "cluster": {**(given or {}), **own}}
            config = {**config, "configurable": configurable}
    return settings_of(config)


def a_request(
    role: Role, payload: Any, settings: CallSettings, agent: str | None, fingerprint: str | None = None
) -> Request:
    """A request for anything but a chat."""
    return Request(
        settings.key,
        role,
        tags=settings.tags,
        zone=settings.zone,
        tier=settings.tier,
        tenant=settings.tenant,
        agent=agent,
        priority=settings.priority,
        payload=payload,
        fingerprint=fingerprint,
    )


def listed(texts: Iterable[str]) -> list[str]:
    """The texts as a list: what can be read only once has no length, and is never empty."""
    if isinstance(texts, str):
        raise TypeError("texts is a str, not a list of them")  # its letters are not meant
    return list(texts)
