"""Where answers are kept. Values are bytes; every operation has an `a`-twin."""

from langchain_cluster.cache.langchain import LangChainCache
from langchain_cluster.cache.memory import CacheStats, MemoryCache

__all__ = ["CacheStats", "LangChainCache", "MemoryCache"]
