"""Answers by what a question means: `SemanticCache`, and the guards it has."""

from langchain_cluster.cache.semantic.cache import SemanticCache
from langchain_cluster.cache.semantic.entry import Hit
from langchain_cluster.cache.semantic.guards import ENGLISH, Guard
from langchain_cluster.cache.semantic.index import RediSearch
from langchain_cluster.cache.semantic.minilm import MiniLm
from langchain_cluster.cache.semantic.share import RedisJournals
from langchain_cluster.cache.semantic.stats import SemanticStats

__all__ = [
    "ENGLISH",
    "Guard",
    "Hit",
    "MiniLm",
    "RediSearch",
    "RedisJournals",
    "SemanticCache",
    "SemanticStats",
]
