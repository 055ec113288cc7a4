"""Discoveries by kind name, ours and other packages'.

A package offers one in its `pyproject.toml`:

    [project.entry-points."langchain_cluster.discoveries"]
    my_registry = "my_package:MyDiscovery"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from langchain_cluster.kinds import factory, made, options_of, refuse_unknown
from langchain_cluster.ports import Discovery

GROUP = "langchain_cluster.discoveries"
KINDS = {
    "consul": "consul:ConsulDiscovery",
    "dns": "dns:DnsDiscovery",
    "etcd": "etcd:EtcdDiscovery",
    "file": "file:FileDiscovery",
}  # imported when they are named


def make_discovery(kind: str, options: Mapping[str, Any] | None = None) -> Discovery:
    """A new discovery of that kind, ours or another package's.

    Raises:
        PluginError: no such kind.
        ConfigError: its package cannot be imported, an option it does not have, a value it does not take.
    """
    make, given = factory("discovery", kind, KINDS, GROUP), dict(options or {})
    if isinstance(make, str):
        module, _, name = make.partition(":")
        make = getattr(import_module(f"langchain_cluster.discovery.{module}"), name)
    takes = options_of(make)
    refuse_unknown(kind, given, None if takes is None else list(takes))
    discovery: Discovery = made(kind, make, given)
    return discovery
