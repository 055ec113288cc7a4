"""Adaptive: the seeds' formula on reports, measurements where there is none, and never a stampede."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from langchain_cluster.balancer import Adaptive
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Outcome
from langchain_cluster.model.endpoint import Capacity, Endpoint, Load
from langchain_cluster.plugins import make_balancer
from langchain_cluster.pool.members import Member
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import picks, standins

CAPACITY = Capacity(max_connections=10, max_memory_mb=1000.0)


def pool_of(n: int, **loads: Load) -> tuple[Pool, FakeClock]:
    clock = FakeClock()
    endpoints = [Endpoint(f"e{i}", capacity=CAPACITY) for i in range(n)]
    pool = Pool(endpoints, balancer="adaptive", clock=clock, seed=3)
    for id, load in loads.items():
        pool.heartbeat(id, load)
    return pool, clock


def member(pool: Pool, id: str) -> Member:
    found = pool.get(id)
    assert found is not None
    return found


def score(pool: Pool, id: str, now: float) -> float:
    return Adaptive().score(member(pool, id), now, pool.snapshot.ready)


def shares(pool: Pool, calls: int = 300) -> dict[str, int]:
    got: dict[str, int] = {}
    for _ in range(calls):
        with pool.acquire() as lease:
            got[lease.endpoint.id] = got.get(lease.endpoint.id, 0) + 1
    return got


def test_the_score_is_the_seeds_formula() -> None:
    pool, clock = pool_of(2, e0=Load(cpu_percent=40.0, memory_mb=250.0))
    e0 = member(pool, "e0")
    e0.in_flight, e0.served, e0.failed = 2, 7, 2
    expected = 0.3 * (1 - 0.4) + 0.2 * (1 - 0.25) + 0.3 * (1 - 0.2) + 0.2 * 0.8
    assert score(pool, "e0", clock.now()) == pytest.approx(expected)


def test_the_reported_connections_count_where_they_are_more_than_ours() -> None:
    pool, clock = pool_of(1, e0=Load(cpu_percent=0.0, memory_mb=0.0, connections=6))
    assert score(pool, "e0", clock.now()) == pytest.approx(1 - 0.3 * 0.6)
    member(pool, "e0").in_flight = 8
    assert score(pool, "e0", clock.now()) == pytest.approx(1 - 0.3 * 0.8)
    member(pool, "e0").in_flight = 25  # more than it can take is no more than full
    assert score(pool, "e0", clock.now()) == pytest.approx(1 - 0.3)


def test_a_gpus_cache_is_its_memory() -> None:
    pool, clock = pool_of(1, e0=Load(cpu_percent=0.0, gpu_cache_percent=50.0, memory_mb=999.0))
    assert score(pool, "e0", clock.now()) == pytest.approx(1 - 0.2 * 0.5)


def test_what_is_over_100_percent_is_no_worse_than_all() -> None:
    pool, clock = pool_of(1, e0=Load(cpu_percent=400.0, memory_mb=5000.0))
    assert score(pool, "e0", clock.now()) == pytest.approx(0.5)


def test_who_has_more_to_spare_is_asked() -> None:
    pool, _ = pool_of(
        2, e0=Load(cpu_percent=90.0, memory_mb=500.0), e1=Load(cpu_percent=20.0, memory_mb=500.0)
    )
    assert shares(pool) == {"e1": 300}


def test_a_new_report_counts_at_once() -> None:
    pool, _ = pool_of(2, e0=Load(cpu_percent=90.0, memory_mb=1.0), e1=Load(cpu_percent=20.0, memory_mb=1.0))
    shares(pool)
    pool.heartbeat("e1", Load(cpu_percent=99.0, memory_mb=1.0))
    assert shares(pool) == {"e0": 300}


def test_a_report_that_is_stale_counts_for_nothing() -> None:
    pool, clock = pool_of(
        2, e0=Load(cpu_percent=95.0, memory_mb=900.0), e1=Load(cpu_percent=5.0, memory_mb=9.0)
    )
    assert shares(pool) == {"e1": 300}
    clock.advance(29.9)
    assert shares(pool) == {"e1": 300}
    clock.advance(0.2)
    assert set(shares(pool)) == {"e0", "e1"}
    member(pool, "e0").ewma_seconds, member(pool, "e1").ewma_seconds = 0.1, 1.0
    member(pool, "e0").ewma_at = member(pool, "e1").ewma_at = clock.now()
    assert shares(pool) == {"e0": 300}  # what is measured counts instead


def test_where_nothing_is_reported_the_latency_and_the_calls_in_flight_count() -> None:
    faster = standins(2, ewma_seconds=[0.1, 1.0])
    assert picks(Adaptive(), faster, 100) == {"e0": 100}
    idler = standins(2, ewma_seconds=[0.5, 0.5], in_flight=[4, 1])
    assert picks(Adaptive(), idler, 100) == {"e1": 100}


def test_a_part_that_is_not_reported_is_measured_and_the_rest_is_taken_from_the_report() -> None:
    pool, clock = pool_of(1, e0=Load(cpu_percent=50.0))
    e0 = member(pool, "e0")
    e0.ewma_seconds, e0.ewma_at, e0.served = 0.4, clock.now(), 10
    # no memory is reported: its 0.2 go to the latency, which is as usual: 1 / (1 + 1)
    assert score(pool, "e0", clock.now()) == pytest.approx(0.3 * 0.5 + 0.2 / 2 + 0.3 + 0.2)


def test_an_endpoint_without_history_is_tried_once_until_it_answers() -> None:
    clock = FakeClock()
    pool = Pool([Endpoint("old"), Endpoint("new")], balancer="adaptive", clock=clock, seed=3)
    with pool.acquire(exclude=("new",)) as lease:
        lease.settle(Outcome.ok(seconds=1.0))
    assert pool.acquire().endpoint.id == "new"
    assert pool.acquire().endpoint.id == "old"


def test_who_fails_has_less_history_to_show() -> None:
    assert picks(Adaptive(), standins(2, served=[5, 10], failed=[5, 0]), 100) == {"e1": 100}


def test_the_latency_fades_while_nobody_asks() -> None:
    slow, usual = standins(2, ewma_seconds=[10.0, 1.0])
    usual.ewma_at = 100.0
    among = (slow, usual)
    assert Adaptive().score(slow, 0.0, among) < Adaptive().score(slow, 30.0, among)


def test_ties_are_even_and_the_best_of_all_does_not_get_everything() -> None:
    even = picks(Adaptive(), standins(10), 10_000)
    assert all(even[f"e{i}"] == pytest.approx(1000, rel=0.1) for i in range(10))
    best = picks(Adaptive(), standins(10, served=[9] * 10, failed=[0] + [1] * 9), 10_000)
    assert best["e0"] == pytest.approx(2000, rel=0.05)


def test_a_heavier_endpoint_has_more_to_spare_at_the_same_load() -> None:
    assert picks(Adaptive(), standins(2, in_flight=[3, 3], weight=[2.0, 1.0]), 100) == {"e0": 100}


def test_weights_choose_what_counts() -> None:
    candidates = standins(2, ewma_seconds=[0.1, 1.0], served=[1, 9], failed=[8, 0])
    assert picks(Adaptive(weights={"history": 1.0}), candidates, 100) == {"e1": 100}
    assert picks(Adaptive(weights={"cpu": 1.0}), candidates, 100) == {"e0": 100}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"cpu": 0.5}, "the weights add up to 0.5, not to 1"),
        ({"cpu": 0.6, "memory": 0.6}, "the weights add up to 1.2, not to 1"),
        ({}, "the weights add up to 0, not to 1"),
        (
            {"cpus": 1.0},
            "unknown part 'cpus': expected one of cpu, memory, connections, history; did you",
        ),
        ({"cpu": float("nan")}, "nan is not a number >= 0"),
        ({"cpu": -1.0, "memory": 2.0}, "-1.0 is not a number >= 0"),
        ({"cpu": "1"}, "'1' is not a number >= 0"),
        ({"cpu": True}, "True is not a number >= 0"),
        ([1.0], "is not a mapping"),
    ],
)
def test_weights_that_make_no_whole_are_errors(weights: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_balancer("adaptive", {"weights": weights})
    assert caught.value.key is not None
    assert caught.value.key.startswith("balancer.weights")


def test_an_option_there_is_not_is_an_error() -> None:
    with pytest.raises(ConfigError, match="adaptive has no option 'weight'"):
        make_balancer("adaptive", {"weight": {}})


def test_a_report_with_nonsense_in_it_is_refused() -> None:
    for bad in (float("nan"), -1.0, float("inf")):
        with pytest.raises(ConfigError):
            Load(cpu_percent=bad)


def test_only_one_is_there() -> None:
    balancer, (only,) = Adaptive(), standins(1)
    candidates = (only,)
    assert {balancer.pick(candidates, None, 0.0, Random(1)) for _ in range(5)} == {only}  # type: ignore[arg-type]


def test_its_name_and_its_repr() -> None:
    assert Adaptive.name == "adaptive"
    assert repr(Adaptive()) == "Adaptive(cpu 0.3, memory 0.2, connections 0.3, history 0.2)"
