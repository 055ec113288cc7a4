"""What tests of this library, and of programs that use it, are written with."""

from langchain_cluster.testing.clock import FakeClock
from langchain_cluster.testing.scripted import ScriptedModel
from langchain_cluster.testing.simulated import SimulatedServer, faults

__all__ = ["FakeClock", "ScriptedModel", "SimulatedServer", "faults"]
