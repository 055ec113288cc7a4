"""Who should answer? Balancers by name; each is a decision on facts it is handed."""

from langchain_cluster.balancer.adaptive import Adaptive
from langchain_cluster.balancer.consistent_hash import ConsistentHash
from langchain_cluster.balancer.least_connections import LeastConnections
from langchain_cluster.balancer.peak_ewma import PeakEwma
from langchain_cluster.balancer.power_of_two import PowerOfTwo
from langchain_cluster.balancer.prefix_affinity import PrefixAffinity
from langchain_cluster.balancer.round_robin import RoundRobin
from langchain_cluster.balancer.weighted import Weighted

__all__ = [
    "Adaptive",
    "ConsistentHash",
    "LeastConnections",
    "PeakEwma",
    "PowerOfTwo",
    "PrefixAffinity",
    "RoundRobin",
    "Weighted",
]
