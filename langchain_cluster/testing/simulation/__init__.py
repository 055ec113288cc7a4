"""Traffic over a pool in virtual time: what a balancer would do, in a second, without a server.

    result = simulate(
        [Endpoint("fast"), Endpoint("slow")],
        balancer="peak_ewma",
        service={"fast": Fixed(0.1), "slow": Fixed(1.0)},
        arrivals=Poisson(rate=50),
        calls=10_000,
        seed=1,
    )
    result.share("slow"), result.quantile(0.99)

The pool and the plan of a call (tries, waits, deadlines) are the real ones; only the endpoints and the
time are made up. The same seed gives the same result.
"""

from langchain_cluster.testing.simulation.mishaps import Failing, Hanging, Slowing, Throttling
from langchain_cluster.testing.simulation.result import Simulation, Tried
from langchain_cluster.testing.simulation.run import simulate
from langchain_cluster.testing.simulation.scenario import Scenario
from langchain_cluster.testing.simulation.traffic import ClosedLoop, Poisson, Sessions

__all__ = [
    "ClosedLoop",
    "Failing",
    "Hanging",
    "Poisson",
    "Scenario",
    "Sessions",
    "Simulation",
    "Slowing",
    "Throttling",
    "Tried",
    "simulate",
]
