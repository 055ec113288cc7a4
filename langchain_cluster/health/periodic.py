"""From what a user says of health checks to the plan that makes them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.health.http import HttpCheck
from langchain_cluster.health.model import ModelCheck
from langchain_cluster.health.presets import llama_cpp, ollama, sglang, tgi, vllm
from langchain_cluster.health.tcp import TcpCheck
from langchain_cluster.kinds import factory, made
from langchain_cluster.model.health import HealthPolicy
from langchain_cluster.plan.effects import Plan
from langchain_cluster.plan.health import examine, limit_of
from langchain_cluster.pool.pool import Pool
from langchain_cluster.ports import HealthCheck

GROUP = "langchain_cluster.health_checks"  # of entry points
CHECKS: dict[str, Callable[..., HealthCheck]] = {
    "http": HttpCheck,
    "tcp": TcpCheck,
    "model": ModelCheck,
    "vllm": vllm,
    "sglang": sglang,
    "llama_cpp": llama_cpp,
    "ollama": ollama,
    "tgi": tgi,
}


class Periodic:
    """A check and how often it is made.

    Args:
        health: a `HealthPolicy`, or only its check: a `HealthCheck` or the name of one.

    Raises:
        ConfigError: it is none of these. PluginError: no check has that name.
    """

    def __init__(self, health: HealthPolicy | HealthCheck | str) -> None:
        self.policy = health if isinstance(health, HealthPolicy) else HealthPolicy(check=health)
        self.check = _a_check(self.policy.check)

    @property
    def detects_within(self) -> float:
        """Seconds after which an endpoint that died is out at the latest, while no check has to wait."""
        policy = self.policy
        return policy.fall * policy.interval + limit_of(self.check, policy)

    def plan(self, pool: Pool, now: Callable[[], float], rng: Random) -> Plan[None]:
        """Check the pool's endpoints for ever."""
        return examine(self.check, pool, self.policy, now, rng)

    def close(self) -> None:
        """Close the check's connections."""
        close = getattr(self.check, "close", None)
        if close is not None:
            close()

    def __repr__(self) -> str:
        policy = self.policy
        return (
            f"<Periodic {self.check!r} every {policy.interval:g} s, rise {policy.rise}, fall {policy.fall}>"
        )


def _a_check(given: Any) -> HealthCheck | None:
    if given is None:
        return None
    if isinstance(given, str):
        given = made(given, factory("health check", given, CHECKS, GROUP), {})
    if isinstance(given, type) or not isinstance(given, HealthCheck):
        raise ConfigError(f"{given!r} is no HealthCheck: it has no check and acheck", key="health")
    return given
