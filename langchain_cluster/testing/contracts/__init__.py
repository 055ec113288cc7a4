"""What every implementation of a seam must do, as test classes to inherit (they need pytest)."""

from langchain_cluster.testing.contracts.cache_store import CacheStoreContract
from langchain_cluster.testing.contracts.journal import JournalContract

__all__ = ["CacheStoreContract", "JournalContract"]
