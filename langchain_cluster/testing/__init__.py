"""What tests of this library, and of programs that use it, are written with."""

from langchain_cluster.testing.clock import FakeClock
from langchain_cluster.testing.journals import MemoryJournals
from langchain_cluster.testing.scripted import ScriptedModel
from langchain_cluster.testing.scripted_vectors import ScriptedEmbeddings, ScriptedRetriever
from langchain_cluster.testing.simulated import Fixed, LogNormal, SimulatedServer, Uniform, faults
from langchain_cluster.testing.simulation import (
    ClosedLoop,
    Failing,
    Hanging,
    Poisson,
    Scenario,
    Sessions,
    Simulation,
    Slowing,
    Throttling,
    simulate,
)

__all__ = [
    "ClosedLoop",
    "Failing",
    "FakeClock",
    "Fixed",
    "Hanging",
    "LogNormal",
    "MemoryJournals",
    "Poisson",
    "Scenario",
    "ScriptedEmbeddings",
    "ScriptedModel",
    "ScriptedRetriever",
    "Sessions",
    "SimulatedServer",
    "Simulation",
    "Slowing",
    "Throttling",
    "Uniform",
    "faults",
    "simulate",
]
