"""A balancer by its name, ours or another package's."""

from __future__ import annotations

from collections.abc import Callable

from langchain_cluster.balancer.adaptive import Adaptive
from langchain_cluster.balancer.consistent_hash import ConsistentHash
from langchain_cluster.balancer.least_connections import LeastConnections
from langchain_cluster.balancer.peak_ewma import PeakEwma
from langchain_cluster.balancer.power_of_two import PowerOfTwo
from langchain_cluster.balancer.prefix_affinity import PrefixAffinity
from langchain_cluster.balancer.round_robin import RoundRobin
from langchain_cluster.balancer.weighted import Weighted
from langchain_cluster.errors import ConfigError, PluginError
from langchain_cluster.kinds import factory
from langchain_cluster.ports import Balancer

GROUP = "langchain_cluster.balancers"  # of entry points
BALANCERS: dict[str, Callable[..., Balancer]] = {
    "adaptive": Adaptive,
    "consistent_hash": ConsistentHash,
    "least_connections": LeastConnections,
    "peak_ewma": PeakEwma,
    "power_of_two": PowerOfTwo,
    "prefix_affinity": PrefixAffinity,
    "round_robin": RoundRobin,
    "weighted": Weighted,
}


def balancer_named(given: str | Balancer) -> Balancer:
    """The balancer itself, or a new one of that name.

    Raises:
        PluginError: an unknown name, or something that is no balancer.
        ConfigError: another package offers that name, and cannot be imported; a class.
    """
    if isinstance(given, str):
        balancer: Balancer = factory("balancer", given, BALANCERS, GROUP)()
        return balancer
    if isinstance(given, type):
        raise ConfigError(
            f"{given.__name__} is a class: give one of its kind, {given.__name__}()", key="balancer"
        )
    if not callable(getattr(given, "pick", None)):
        raise PluginError("balancer", repr(given), list(BALANCERS))
    return given
