"""Where answers are kept. Values are bytes; every operation has an `a`-twin."""

from typing import TYPE_CHECKING, Any

from langchain_cluster.cache.borrowed import LangChainLayer
from langchain_cluster.cache.langchain import LangChainCache
from langchain_cluster.cache.layered import LayeredCache
from langchain_cluster.cache.memory import MemoryCache
from langchain_cluster.cache.redis import RedisCache
from langchain_cluster.cache.sharded import ShardedCache
from langchain_cluster.cache.stats import CacheStats

if TYPE_CHECKING:
    from langchain_cluster.cache.semantic import SemanticCache

__all__ = [
    "CacheStats",
    "LangChainCache",
    "LangChainLayer",
    "LayeredCache",
    "MemoryCache",
    "RedisCache",
    "SemanticCache",
    "ShardedCache",
]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: most processes need none of it.
    if name == "SemanticCache":
        from langchain_cluster.cache.semantic import SemanticCache

        return SemanticCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
