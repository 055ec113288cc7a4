"""Who gets how much when one of ten is ten times slower; and the same seed does the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.model.call import Outcome
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import shares

ROOT = Path(__file__).parents[2]
TEN = [Endpoint(f"e{i}") for i in range(10)]


def one_slow(id: str, rng: Random) -> tuple[float, bool]:
    """A second on average, exponential; ten on e0."""
    return rng.expovariate(0.1 if id == "e0" else 1.0), True


@pytest.mark.parametrize(
    ("balancer", "least", "most"),
    [("round_robin", 0.099, 0.101), ("power_of_two", 0.0, 0.022), ("peak_ewma", 0.0, 0.010)],
)
def test_a_node_ten_times_slower_among_ten_gets_little(balancer: str, least: float, most: float) -> None:
    rate = {"round_robin": 27, "power_of_two": 43, "peak_ewma": 47}[balancer]
    got = shares(balancer, one_slow, endpoints=TEN, rate=rate, calls=9_000, warm_up=1_000)
    assert 45 <= got["in flight"] <= 55
    assert least <= got["e0"] <= most
    print(f"{balancer}: {got['e0']:.2%} at {got['in flight']:.0f} in flight")


@pytest.mark.parametrize("balancer", BALANCERS)
def test_ten_alike_share_evenly(balancer: str) -> None:
    got = shares(
        balancer,
        lambda id, rng: (rng.uniform(0.9, 1.1), True),
        endpoints=TEN,
        rate=50,
        calls=5_000,
        warm_up=500,
    )
    assert all(0.08 <= got[e.id] <= 0.12 for e in TEN)


def sequence(balancer: str, seed: int) -> str:
    clock = FakeClock(0.0)
    pool = Pool(
        [Endpoint(f"e{i}", weight=i + 1) for i in range(6)], balancer=balancer, clock=clock, seed=seed
    )
    rng, held, got = Random(seed), [], []
    for step in range(300):
        lease = pool.acquire()
        got.append(lease.endpoint.id[1:])
        held.append(lease)
        clock.advance(0.05)
        while len(held) > step % 7:
            fails = rng.random() < 0.2
            outcome = Outcome.failed(seconds=0.1) if fails else Outcome.ok(seconds=rng.random())
            held.pop(rng.randrange(len(held))).settle(outcome)
    return "".join(got)


@pytest.mark.parametrize("balancer", BALANCERS)
def test_the_same_seed_does_the_same_again(balancer: str) -> None:
    assert sequence(balancer, 7) == sequence(balancer, 7)


@pytest.mark.parametrize("balancer", ["power_of_two", "peak_ewma"])
def test_another_seed_does_something_else(balancer: str) -> None:
    assert sequence(balancer, 7) != sequence(balancer, 8)


def test_nothing_depends_on_how_python_hashes() -> None:
    program = (
        "from tests.balancer.test_shares import sequence, BALANCERS\n"
        "print([sequence(name, 7) for name in sorted(BALANCERS)])"
    )
    said = set()
    for seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert said == {f"{[sequence(name, 7) for name in sorted(BALANCERS)]}\n"}
