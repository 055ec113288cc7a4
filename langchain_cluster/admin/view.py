"""A cluster as data: everything the app answers a read with, worked out here and in one place."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from langchain_cluster.admin.kept import counted
from langchain_cluster.admin.ledger import Ledger
from langchain_cluster.admin.shapes import member_shape
from langchain_cluster.cluster import Cluster
from langchain_cluster.config.describe import describe, masked
from langchain_cluster.config.schema import ClusterConfig
from langchain_cluster.pool.failover import state_of
from langchain_cluster.pool.members import Member

FRESH = 0.5  # seconds that a snapshot is good for, so that many streams cost no more than one


class View:
    """What is shown of a cluster.

    Args:
        config: what it was made from, None when it was made in code.
        wall: seconds since 1970.
    """

    def __init__(self, cluster: Cluster, config: ClusterConfig | None, wall: Callable[[], float]) -> None:
        self.cluster, self.config = cluster, config
        self._wall = wall
        self.ledger = Ledger(cluster.clock.now, wall)
        self._lock = Lock()
        self._snapshot: tuple[float, dict[str, Any]] | None = None

    def ready(self) -> dict[str, Any]:
        """Whether a call would find somebody, and if not, why not, per endpoint."""
        now = self.cluster.clock.now()
        why = {m.endpoint.id: m.why_not(now) for m in self.cluster.pool}
        ready = not self.cluster.closed and None in why.values()
        return {"ready": ready, "closed": self.cluster.closed, "why_not": {} if ready else why}

    def endpoints(self) -> list[dict[str, Any]]:
        """Every endpoint."""
        pool, now = self.cluster.pool, self.cluster.clock.now()
        members = pool.list()
        counted = self.ledger.lines({m.endpoint.id for m in members})
        return [self._shape(m, counted.get(m.endpoint.id), now) for m in members]

    def endpoint(self, id: str) -> dict[str, Any] | None:
        """One of them, None when there is none of that id."""
        return next((shape for shape in self.endpoints() if shape["id"] == id), None)

    def _shape(self, member: Member, counted: dict[str, Any] | None, now: float) -> dict[str, Any]:
        return member_shape(member, state_of(member, now), counted, now)

    def stats(self) -> dict[str, Any]:
        """Counts of the whole cluster since it started; tokens and cost since the app was made."""
        stats = self.cluster.stats()
        stats.pop("endpoints", None)
        calls = stats.get("calls", 0)
        return {
            "at": round(self._wall(), 3),
            "closed": self.cluster.closed,
            "balancer": self.cluster.pool.balancer.name,
            **stats,
            "cache_hit_ratio": stats.get("cache_hits", 0) / calls if calls else 0.0,
            **self.ledger.totals(),
        }

    def cache(self) -> dict[str, Any]:
        """What each cache has counted; None where there is none, or where it counts nothing."""
        return counted(self.cluster)

    def snapshot(self) -> dict[str, Any]:
        """All of that at one moment, at most half a second old."""
        now = self.cluster.clock.now()
        with self._lock:
            if self._snapshot is None or not 0 <= now - self._snapshot[0] < FRESH:
                told = {"stats": self.stats(), "cache": self.cache(), "endpoints": self.endpoints()}
                self._snapshot = (now, told)
            return self._snapshot[1]

    def configuration(self) -> dict[str, Any]:
        """The config in force, with what is secret masked."""
        if self.config is not None:
            return describe(self.config)
        cluster = self.cluster
        return {
            "balancer": {"kind": cluster.pool.balancer.name},
            "policy": _of_model(cluster.policy),
            "agents": {name: _of_model(policy) for name, policy in cluster.agents.items()},
            "drain_timeout": cluster.drain_timeout,
        }


def _of_model(policy: Any) -> Any:
    return masked(policy.model_dump(mode="python"))
