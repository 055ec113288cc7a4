"""What a cluster was given, made into what it works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_cluster.balancer.registry import balancer_named
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.policy import (
    Policy,
)
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.plugins import make_balancer
from langchain_cluster.ports import AlikeStore, Balancer

if TYPE_CHECKING:
    from langchain_cluster.cluster.cluster import Cluster
    from langchain_cluster.discovery.kept import KeptRosters
    from langchain_cluster.telemetry.alerts import Watch


def a_list(given: Any, key: str) -> list[Any]:
    """The endpoints or discoveries, one or several, as a list. Raises ConfigError: it is neither."""
    if isinstance(given, Endpoint) or not isinstance(given, Iterable):
        if key == "endpoints":
            raise ConfigError(f"{type(given).__name__} is not a list of Endpoint", key=key)
        return [given]
    return list(given)


def a_policy(given: Policy | Mapping[str, Any] | None, key: str, base: Policy | None = None) -> Policy:
    """The policy itself; a mapping is what differs from `base`."""
    base = base or Policy()
    if given is None:
        return base
    if isinstance(given, Policy):
        return given
    if isinstance(given, Mapping):
        return base.but(**given)
    raise ConfigError(f"{type(given).__name__} is not a Policy", key=key)


def a_balancer(given: str | Balancer) -> Balancer:
    """The balancer, or a new one of that name. Raises ConfigError: it has no name for spans and tables."""
    balancer = make_balancer(given) if isinstance(given, str) else balancer_named(given)
    if not isinstance(getattr(balancer, "name", None), str):
        raise ConfigError(f"{balancer!r} has no name: give it one, as an attribute", key="balancer.name")
    return balancer


def a_keeper(stability: StabilityPolicy | None) -> KeptRosters | None:
    """Where rosters are kept between starts, None for nowhere."""
    if stability is None or stability.keep is None:
        return None
    from langchain_cluster.discovery.kept import KeptRosters  # who keeps nothing reads no file

    return KeptRosters(stability.keep)


def a_watch(alerts: Any, cluster: Cluster) -> Watch:
    """What watches the cluster, from an `Alerts` or its rules."""
    from langchain_cluster.telemetry.alerts import Alerts, Watch  # who watches nothing needs none of it

    if not isinstance(alerts, Alerts):
        if not isinstance(alerts, Sequence):
            kind = type(alerts).__name__
            raise ConfigError(f"{kind} is neither an Alerts nor a list of rules", key="alerts")
        alerts = Alerts(alerts)
    return Watch(alerts, cluster.pool, cluster.clock.now, cluster._emit)


def an_alike_store(given: Any) -> AlikeStore | None:
    """The semantic cache. Raises ConfigError: it is none."""
    if isinstance(given, type):
        raise ConfigError(f"{given.__name__} is a class: give {given.__name__}(...)", key="semantic_cache")
    if given is None or all(callable(getattr(given, name, None)) for name in ("aseek", "akeep", "audited")):
        return given  # type: ignore[no-any-return]
    raise ConfigError(f"{type(given).__name__} is no SemanticCache", key="semantic_cache")
