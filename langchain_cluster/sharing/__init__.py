"""What one process learns about endpoints, other processes hear of: as a hint, never as an order."""

from __future__ import annotations

from langchain_cluster.model.hearsay import Hearsay, Said
from langchain_cluster.ports import Channel, LimitStore, Sharing
from langchain_cluster.sharing.limits import SharedLimits
from langchain_cluster.sharing.local import LocalSharing
from langchain_cluster.sharing.redis import RedisSharing

__all__ = [
    "Channel",
    "Hearsay",
    "LimitStore",
    "LocalSharing",
    "RedisSharing",
    "Said",
    "SharedLimits",
    "Sharing",
]
