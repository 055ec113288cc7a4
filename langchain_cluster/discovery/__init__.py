"""Where rosters come from, and how an endpoint announces itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_cluster.discovery.static import StaticDiscovery
from langchain_cluster.ports import Discovery, Registrar

if TYPE_CHECKING:
    from langchain_cluster.discovery.announce import announced
    from langchain_cluster.discovery.consul import ConsulDiscovery
    from langchain_cluster.discovery.consul_registrar import ConsulRegistrar
    from langchain_cluster.discovery.dns import DnsDiscovery
    from langchain_cluster.discovery.etcd import EtcdDiscovery
    from langchain_cluster.discovery.etcd_registrar import EtcdRegistrar
    from langchain_cluster.discovery.file import FileDiscovery

__all__ = [
    "ConsulDiscovery",
    "ConsulRegistrar",
    "Discovery",
    "DnsDiscovery",
    "EtcdDiscovery",
    "EtcdRegistrar",
    "FileDiscovery",
    "Registrar",
    "StaticDiscovery",
    "announced",
]

# Imported when asked for: they bring httpx, which a pool that is written down does not need.
_LATER = {
    "announced": "announce",
    "ConsulDiscovery": "consul",
    "ConsulRegistrar": "consul_registrar",
    "DnsDiscovery": "dns",
    "EtcdDiscovery": "etcd",
    "EtcdRegistrar": "etcd_registrar",
    "FileDiscovery": "file",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
