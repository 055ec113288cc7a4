"""Balancers and discoveries of other packages, found by entry point and made by kind name.

A package offers one in its `pyproject.toml`:

    [project.entry-points."langchain_cluster.balancers"]
    my_balancer = "my_package:MyBalancer"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.errors import PluginError
from langchain_cluster.ports import Balancer

BALANCER_GROUP = "langchain_cluster.balancers"


def make_balancer(kind: str, options: dict[str, Any] | None = None) -> Balancer:
    """A new balancer of that kind, ours or another package's.

    Raises:
        PluginError: no such kind.
    """
    found = {point.name: point for point in entry_points(group=BALANCER_GROUP)}
    if kind in BALANCERS:
        make: Any = BALANCERS[kind]
    elif kind in found:
        make = found[kind].load()
    else:
        raise PluginError("balancer", kind, [*BALANCERS, *found])
    balancer: Balancer = make(**(options or {}))
    return balancer
