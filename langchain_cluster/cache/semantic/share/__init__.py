"""One process's answers are every process's: told through a journal, and followed on a thread."""

from langchain_cluster.cache.semantic.share.record import Kept
from langchain_cluster.cache.semantic.share.redis import RedisJournals
from langchain_cluster.cache.semantic.share.seam import Journal, Journals
from langchain_cluster.cache.semantic.share.shared import Shared

__all__ = ["Journal", "Journals", "Kept", "RedisJournals", "Shared"]
