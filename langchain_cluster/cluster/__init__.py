"""The running thing, and the only one: config in, calls out."""

from langchain_cluster.cluster.cluster import Cluster

__all__ = ["Cluster"]
