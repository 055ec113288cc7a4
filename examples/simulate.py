"""What each balancer does with an endpoint that turns slow, in virtual time: python examples/simulate.py"""

from langchain_cluster import Endpoint, Policy
from langchain_cluster.testing import LogNormal, Poisson, Slowing, simulate

ENDPOINTS = [Endpoint(f"gpu-{n}") for n in range(1, 6)]
TURNS_SLOW = Slowing("gpu-1", factor=10.0, start=60.0, end=120.0)  # virtual seconds

for balancer in ("round_robin", "power_of_two", "peak_ewma"):
    result = simulate(
        ENDPOINTS,
        balancer=balancer,
        service=LogNormal(median=1.0, sigma=0.5),
        arrivals=Poisson(rate=20.0),
        failing=[TURNS_SLOW],
        policy=Policy(attempts=3, timeout=60.0),
        calls=3_600,
        seed=1,
    )
    before, while_slow, after = (result.share("gpu-1", at, at + 55.0) for at in (0.0, 62.0, 125.0))
    print(
        f"{balancer:13} share of gpu-1: {before:.0%} before, {while_slow:.0%} while slow, {after:.0%} after;"
        f" p99 {result.quantile(0.99):.1f} s"
    )
