"""Work that is done once for a whole fleet: who does it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_cluster.leadership.local import LocalLeadership
from langchain_cluster.leadership.redis import RedisLeadership
from langchain_cluster.leadership.seat import Seat
from langchain_cluster.model.term import Term
from langchain_cluster.ports import Leadership, Noticeboard

if TYPE_CHECKING:
    from langchain_cluster.leadership.consul import ConsulLeadership
    from langchain_cluster.leadership.etcd import EtcdLeadership

__all__ = [
    "ConsulLeadership",
    "EtcdLeadership",
    "Leadership",
    "LocalLeadership",
    "Noticeboard",
    "RedisLeadership",
    "Seat",
    "Term",
]

_LATER = {"ConsulLeadership": "consul", "EtcdLeadership": "etcd"}  # they bring httpx


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
