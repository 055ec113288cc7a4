"""Which entries are nearest to a vector, within one scope."""

from langchain_cluster.cache.semantic.index.exhaustive import Exhaustive
from langchain_cluster.cache.semantic.index.graph import Graph
from langchain_cluster.cache.semantic.index.redisearch import RediSearch
from langchain_cluster.cache.semantic.index.seam import VectorIndex
from langchain_cluster.cache.semantic.index.sized import LARGE, Sized

__all__ = ["LARGE", "Exhaustive", "Graph", "RediSearch", "Sized", "VectorIndex"]
