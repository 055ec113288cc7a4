"""Who should answer? Balancers by name; each is a decision on facts it is handed."""

from langchain_cluster.balancer.peak_ewma import PeakEwma
from langchain_cluster.balancer.power_of_two import PowerOfTwo
from langchain_cluster.balancer.round_robin import RoundRobin

__all__ = ["PeakEwma", "PowerOfTwo", "RoundRobin"]
