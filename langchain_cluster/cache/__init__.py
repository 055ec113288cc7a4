"""Where answers are kept. Values are bytes; every operation has an `a`-twin."""

from langchain_cluster.cache.borrowed import LangChainLayer
from langchain_cluster.cache.langchain import LangChainCache
from langchain_cluster.cache.layered import LayeredCache
from langchain_cluster.cache.memory import MemoryCache
from langchain_cluster.cache.redis import RedisCache
from langchain_cluster.cache.sharded import ShardedCache
from langchain_cluster.cache.stats import CacheStats

__all__ = [
    "CacheStats",
    "LangChainCache",
    "LangChainLayer",
    "LayeredCache",
    "MemoryCache",
    "RedisCache",
    "ShardedCache",
]
