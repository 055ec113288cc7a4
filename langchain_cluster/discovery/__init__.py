"""Where rosters come from."""

from langchain_cluster.discovery.static import StaticDiscovery

__all__ = ["StaticDiscovery"]
