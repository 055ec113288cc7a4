"""Work that is done once for a whole fleet: who does it."""

from langchain_cluster.leadership.local import LocalLeadership
from langchain_cluster.leadership.redis import RedisLeadership
from langchain_cluster.leadership.seat import Seat
from langchain_cluster.model.term import Term
from langchain_cluster.ports import Leadership, Noticeboard

__all__ = ["Leadership", "LocalLeadership", "Noticeboard", "RedisLeadership", "Seat", "Term"]
