"""A model server that answers, and fails, as it is told."""

from langchain_cluster.testing.simulated import faults
from langchain_cluster.testing.simulated.dialect import Ask, ToolCall
from langchain_cluster.testing.simulated.faults import Fault
from langchain_cluster.testing.simulated.latency import Fixed, LogNormal, Uniform
from langchain_cluster.testing.simulated.log import Seen
from langchain_cluster.testing.simulated.server import SimulatedServer

__all__ = [
    "Ask",
    "Fault",
    "Fixed",
    "LogNormal",
    "Seen",
    "SimulatedServer",
    "ToolCall",
    "Uniform",
    "faults",
]
