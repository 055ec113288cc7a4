"""Balancers by kind name, ours and other packages'.

A package offers one in its `pyproject.toml`:

    [project.entry-points."langchain_cluster.balancers"]
    my_balancer = "my_package:MyBalancer"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_cluster.balancer.registry import BALANCERS, GROUP
from langchain_cluster.errors import ConfigError
from langchain_cluster.kinds import factory, options_of, refuse_unknown
from langchain_cluster.ports import Balancer


def make_balancer(kind: str, options: Mapping[str, Any] | None = None, **more: Any) -> Balancer:
    """A new balancer of that kind, ours or another package's.

    Args:
        options: its options as a mapping. **more: the same by name.

    Raises:
        PluginError: no such kind.
        ConfigError: its package cannot be imported, an option it does not have, a value it does not take.
    """
    make, given = factory("balancer", kind, BALANCERS, GROUP), {**(options or {}), **more}
    takes = options_of(make)
    refuse_unknown(kind, given, None if takes is None else list(takes))
    try:
        balancer: Balancer = make(**given)
    except ConfigError:
        raise
    except Exception as error:  # whatever a factory of another package raises
        raise ConfigError(f"{kind} cannot be made with these options: {error}", key="balancer") from None
    return balancer
