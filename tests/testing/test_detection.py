"""How soon a dead endpoint is out: by its checks alone, and under traffic; in pools of any size."""

from __future__ import annotations

import pytest

from langchain_cluster import Endpoint, OutlierPolicy, Policy
from langchain_cluster.health import HttpCheck, Periodic, TcpCheck
from langchain_cluster.testing import Failing, Fixed, Hanging, LogNormal, Poisson, simulate

DIES = 20.0  # virtual seconds
BALANCERS = (
    "round_robin",
    "weighted",
    "least_connections",
    "power_of_two",
    "peak_ewma",
    "adaptive",
    "consistent_hash",
    "prefix_affinity",
)


@pytest.mark.parametrize("check", [HttpCheck(), TcpCheck()], ids=repr)
def test_by_its_checks_alone_a_dead_endpoint_is_out_within_ten_seconds(check: HttpCheck | TcpCheck) -> None:
    assert Periodic(check).detects_within <= 10.0


@pytest.mark.parametrize("balancer", BALANCERS)
@pytest.mark.parametrize("dead", ["refuses", "hangs"])
def test_under_traffic_a_dead_endpoint_is_out_within_five_seconds(dead: str, balancer: str) -> None:
    mishap = Failing("e3", 0.01, start=DIES) if dead == "refuses" else Hanging("e3", start=DIES)
    result = simulate(
        [Endpoint(f"e{n}") for n in range(10)],
        balancer=balancer,
        service=LogNormal(0.5, 0.3),  # who hangs is known by calls five times as old as answers take
        arrivals=Poisson(50.0),
        calls=2_500,
        failing=[mishap],
        policy=Policy(timeout=60.0, attempt_timeout=10.0),
        outlier=OutlierPolicy(),
        seed=3,
    )
    assert result.share("e3", 0.0, DIES) > 0.02
    after = [tried for tried in result.attempts if tried.endpoint == "e3" and tried.at >= DIES + 5.0]
    late = sum(tried.at >= DIES + 5.0 for tried in result.attempts)
    assert late > 500
    assert len(after) <= 0.01 * late, "no more than probes"
    assert (result.lost, result.refused) == (0, 0)


@pytest.mark.parametrize("many", [100, 500, 1_000])
@pytest.mark.parametrize("balancer", ["peak_ewma", "power_of_two", "consistent_hash"])
def test_pools_of_any_size_lose_nothing_when_one_dies(many: int, balancer: str) -> None:
    result = simulate(
        [Endpoint(f"e{n}") for n in range(many)],
        balancer=balancer,
        service=Fixed(1.0),
        arrivals=Poisson(many / 2),
        calls=4_000,
        failing=[Failing("e3", 0.01, start=1.0)],
        policy=Policy(timeout=60.0),
        seed=3,
    )
    assert len(result.latencies) == 4_000
    assert (result.lost, result.refused) == (0, 0)
