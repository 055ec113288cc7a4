"""From a config to the arguments of a `Cluster`: here variables are read and chat models are made."""

from __future__ import annotations

from typing import Any

from langchain_cluster.config.discovery import FactoryConfig
from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.factory import EndpointFactory
from langchain_cluster.config.models import chat_model, vectors_model
from langchain_cluster.config.schema import ClusterConfig
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.health import HealthPolicy
from langchain_cluster.model.strict import relocated
from langchain_cluster.ports import AlikeStore, CacheStore, Discovery, LimitStore, Sharing
from langchain_cluster.telemetry import Telemetry


def cluster_arguments(config: ClusterConfig, role: Role = Role.LLM) -> dict[str, Any]:
    """Keyword arguments for `Cluster(...)`.

    Args:
        role: what the cluster is for. Where no endpoint says that it has this role, those have it that
            say nothing of theirs.

    Raises:
        ConfigError: an environment variable is not set, a provider's library is not installed, or it
            refuses its arguments. The key says where.
    """
    return {
        "endpoints": [_endpoint(own, number, config._file) for number, own in enumerate(_for(role, config))],
        "balancer": config.balancer.make(),
        "health": _health(config),
        "cache": _cache(config),
        "semantic_cache": _semantic_cache(config),
        "policy": config.policy.policy(),
        "agents": {agent: policy.policy() for agent, policy in config.agents.items()},
        "breaker": config.breaker,
        "outlier": config.outlier,
        "slow_start": config.slow_start,
        "concurrency": config.concurrency,
        "quotas": config.quotas,
        "throttle": config.throttle,
        "queue": config.queue,
        "budgets": config.budgets,
        "discovery": _discovery(config),
        "factory": _factory(config),
        "stability": config.stability,
        "sharing": _sharing(config),
        "limits": _limits(config),
        "telemetry": _telemetry(config),
        "alerts": _alerts(config),
        "log": config.log,
        "drain_timeout": config.drain_timeout,
    }


def _for(role: Role, config: ClusterConfig) -> list[EndpointConfig]:
    endpoints = list(config.endpoints)
    if any(role in own.roles for own in endpoints if "roles" in own.model_fields_set):
        return endpoints
    given = {"roles": frozenset({role})}
    return [own if "roles" in own.model_fields_set else own.model_copy(update=given) for own in endpoints]


def _endpoint(own: EndpointConfig, number: int, file: str | None) -> Endpoint:
    try:
        model = vectors_model(own) if Role.EMBEDDING in own.roles else chat_model(own)
    except ConfigError as error:
        told = str(error).removeprefix(f"{error.key}: ")
        named = ConfigError(f"{told} (endpoint {own.id!r})", key=error.key)
        named.valid = error.valid
        raise relocated(named, under=f"endpoints.{number}", file=file) from None
    return Endpoint(
        own.id,
        model,
        url=own.address,
        weight=own.weight,
        zone=own.zone,
        tier=own.tier,
        roles=own.roles,
        tags=own.tags,
        metadata=own.metadata,
        capacity=own.capacity.capacity(),
        price=None if own.price is None else own.price.price(),
        priority=own.priority,
        quota_group=own.quota_group,
        identity=own.identity,
        context_window=own.context_window,
        capabilities=own.capabilities,
    )


def _discovery(config: ClusterConfig) -> list[Discovery] | None:
    sources = []
    for number, source in enumerate(config.discovery):
        try:
            sources.append(source.make())
        except ConfigError as error:
            under = "discovery" if len(config.discovery) == 1 else f"discovery.{number}"
            raise relocated(error, under=under, file=config._file) from None
    return sources or None


def _factory(config: ClusterConfig) -> EndpointFactory | None:
    """What was asked for; where something is discovered and nothing was said, the default."""
    if config.factory is None and not config.discovery:
        return None
    try:
        return (config.factory or FactoryConfig()).make()
    except ConfigError as error:
        raise relocated(error, under="factory", file=config._file) from None


def _telemetry(config: ClusterConfig) -> Telemetry | None:
    try:
        return None if config.telemetry is None else config.telemetry.make()
    except ConfigError as error:
        raise relocated(error, under="telemetry", file=config._file) from None


def _health(config: ClusterConfig) -> HealthPolicy | None:
    place = "leadership"
    try:
        leader = None if config.leadership is None else config.leadership.make()
        place = "health"
        return None if config.health is None else config.health.policy(leader)
    except ConfigError as error:
        raise relocated(error, under=place, file=config._file) from None


def _limits(config: ClusterConfig) -> LimitStore | None:
    try:
        return None if config.limits is None else config.limits.make()
    except ConfigError as error:
        raise relocated(error, under="limits", file=config._file) from None


def _sharing(config: ClusterConfig) -> Sharing | None:
    try:
        return None if config.sharing is None else config.sharing.make()
    except ConfigError as error:
        raise relocated(error, under="sharing", file=config._file) from None


def _alerts(config: ClusterConfig) -> Any:
    try:
        return None if config.alerts is None else config.alerts.make()
    except ConfigError as error:
        raise relocated(error, under="alerts", file=config._file) from None


def _semantic_cache(config: ClusterConfig) -> AlikeStore | None:
    try:
        return None if config.semantic_cache is None else config.semantic_cache.make()
    except ConfigError as error:
        raise relocated(error, under="semantic_cache", file=config._file) from None


def _cache(config: ClusterConfig) -> CacheStore | None:
    try:
        return None if config.cache is None else config.cache.make()
    except ConfigError as error:
        raise relocated(error, under="cache", file=config._file) from None
