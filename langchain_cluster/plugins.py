"""Balancers by kind name, ours and other packages'.

A package offers one in its `pyproject.toml`:

    [project.entry-points."langchain_cluster.balancers"]
    my_balancer = "my_package:MyBalancer"
"""

from __future__ import annotations

from typing import Any

from langchain_cluster.balancer.registry import BALANCERS, GROUP
from langchain_cluster.kinds import factory
from langchain_cluster.ports import Balancer


def make_balancer(kind: str, options: dict[str, Any] | None = None) -> Balancer:
    """A new balancer of that kind, ours or another package's.

    Raises:
        PluginError: no such kind. ConfigError: its package cannot be imported.
    """
    balancer: Balancer = factory("balancer", kind, BALANCERS, GROUP)(**(options or {}))
    return balancer
