"""The shipped scenarios keep what the guide promises, and a scenario file that is wrong is a clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from langchain_cluster import ConfigError
from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.config.balancer import BalancerConfig
from langchain_cluster.languages import parse
from langchain_cluster.testing import Scenario, Simulation
from langchain_cluster.testing.simulated.latency import Fixed, LogNormal, Uniform
from langchain_cluster.testing.simulation.scenario import SHIPPED, json_schema, scenarios

Run = Callable[..., tuple[Scenario, Simulation]]


def run(name: str, balancer: str, **overrides: object) -> tuple[Scenario, Simulation]:
    scenario = Scenario.load(name).but(**overrides)
    return scenario, scenario.run(BalancerConfig(kind=balancer))


def mean(scenario: Scenario, result: Simulation, name: str, start: float = 0.0, end: float = 1e9) -> float:
    ids = scenario.ids_of(name)
    return sum(result.share(id, start, end) for id in ids) / len(ids)


@pytest.mark.parametrize(
    ("balancer", "most"),
    [
        ("power_of_two", 0.022),
        ("least_connections", 0.018),
        ("peak_ewma", 0.010),
        ("adaptive", 0.022),
        ("consistent_hash", 0.022),
        ("prefix_affinity", 0.022),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_slow_one_of_ten_gets_little(balancer: str, most: float, seed: int) -> None:
    _, result = run("slow-one-of-ten", balancer, calls=10_000, seed=seed)
    assert result.share("slow") <= most
    assert result.lost == result.refused == 0


def test_round_robin_gives_a_slow_one_as_much_as_others() -> None:
    _, result = run("slow-one-of-ten", "round_robin", calls=5_000)
    assert result.share("slow") == pytest.approx(0.1)
    assert result.quantile(0.95) > 5.0


@pytest.mark.parametrize("balancer", BALANCERS)
def test_a_black_hole_is_ejected(balancer: str) -> None:
    _, result = run("black-hole", balancer, calls=8_000)
    assert 0.0 < result.share("broken") <= 0.01
    assert result.lost == 0


def test_a_black_hole_without_guards_swallows_what_counts_calls_in_flight() -> None:
    _, least = run("black-hole-unguarded", "least_connections", calls=8_000)
    _, ewma = run("black-hole-unguarded", "peak_ewma", calls=8_000)
    assert least.share("broken") > 0.3
    assert ewma.share("broken") < 0.5 * least.share("broken")


@pytest.mark.parametrize("balancer", ["round_robin", "weighted", "power_of_two", "peak_ewma"])
def test_a_newcomer_that_is_cold_is_spared_at_first_and_has_its_part_later(balancer: str) -> None:
    _, result = run("one-joins", balancer)
    _, unspared = run("one-joins", balancer, slow_start=None)
    assert result.share("new", 0.0, 60.0) == 0.0
    if balancer in ("weighted", "power_of_two", "peak_ewma"):
        assert result.share("new", 60.0, 70.0) <= 0.09
        assert result.share("new", 60.0, 70.0) < unspared.share("new", 60.0, 70.0)
    assert result.share("new", 110.0, 190.0) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("balancer", ["round_robin", "peak_ewma", "consistent_hash"])
def test_a_drained_one_gets_nothing_until_it_returns_and_no_call_is_lost(balancer: str) -> None:
    _, result = run("one-drained", balancer)
    assert result.share("drained", 60.0, 120.0) == 0.0
    assert result.share("drained", 0.0, 60.0) == pytest.approx(0.2, abs=0.06)
    assert result.share("drained", 130.0, 190.0) == pytest.approx(0.2, abs=0.06)
    assert len(result.latencies) == 8_000


@pytest.mark.parametrize("balancer", ["round_robin", "power_of_two", "peak_ewma"])
def test_while_most_are_dead_the_others_carry_the_load(balancer: str) -> None:
    scenario, result = run("half-dead", balancer)
    assert (result.lost + result.refused) / scenario.calls < 0.005
    assert mean(scenario, result, "failing", 65.0, 115.0) < 0.01  # probes, and no more
    assert mean(scenario, result, "failing", 170.0, 195.0) > 0.06  # they are back


@pytest.mark.parametrize("balancer", ["consistent_hash", "prefix_affinity"])
def test_sessions_stay_where_they_are_remembered(balancer: str) -> None:
    scenario, kept = run("zipf-sessions", balancer, calls=6_000)
    _, spread = run("zipf-sessions", "power_of_two", calls=6_000)
    assert kept.hit_ratio > spread.hit_ratio + 0.15
    assert kept.quantile(0.5) < 0.8 * spread.quantile(0.5)
    assert max(kept.share(id) for id in scenario.ids_of("gpu")) < 0.125 * 1.25


@pytest.mark.parametrize("balancer", BALANCERS)
def test_a_throttled_one_costs_no_answer(balancer: str) -> None:
    scenario, result = run("throttled", balancer, calls=3_000)
    assert len(result.latencies) == 3_000
    assert result.failed == {}
    assert result.throttled["limited"] / scenario.calls < 0.03


def test_every_shipped_scenario_is_tested_and_fits_the_schema() -> None:
    here = Path(__file__).read_text()
    schema = json_schema()
    assert schema["required"] == ["endpoints"]
    for name in scenarios():
        assert f'"{name}"' in here
        written = (SHIPPED / f"{name}.yaml").read_text()
        assert set(parse(written, ".yaml", file=name)) <= set(schema["properties"])
        assert Scenario.load(name).about


def load(tmp_path: Path, written: str) -> Scenario:
    path = tmp_path / "own.yaml"
    path.write_text(written)
    return Scenario.load(path)


def test_durations_and_distributions_are_read(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        "endpoints: [{id: a}, {id: b, service: 2}, {id: c, service: 'uniform:50ms, 2s'},"
        " {id: d, service: 'lognormal:1s,0.5', joins: 1m}]\nbalancers: all",
    )
    assert [e.service for e in scenario.endpoints] == [
        Fixed(0.1),
        Fixed(2.0),
        Uniform(0.05, 2.0),
        LogNormal(1.0, 0.5),
    ]
    assert scenario.endpoints[3].joins == 60.0
    assert [b.kind for b in scenario.balancers] == list(BALANCERS)


ONE = "endpoints: [{id: a}]\n"
BAD = [
    ("", "own.yaml: is empty: it needs at least `endpoints`, a list"),
    ("calls: 5", "endpoints: is missing"),
    ("endpoints: []", "own.yaml: endpoints: "),
    ("endpoints: [{id: a}, {id: a}]", "endpoints.1.id: two endpoints have the id 'a'"),
    ("endpoints: [{id: a, servce: 1s}]", "endpoints.0: unknown key 'servce'"),
    ("endpoints: [{id: a, service: 1 fortnight}]", "endpoints.0.service: '1 fortnight' is no duration"),
    (
        "endpoints: [{id: a, service: 'normal:1s,2s'}]",
        "endpoints.0.service: 'normal:1s,2s' is no",
    ),
    ("endpoints: [{id: a, service: 'uniform:2s,1s'}]", "wrong order"),
    ("endpoints: [{id: a, service: 'lognormal:2s,1s'}]", "sigma is a number"),
    ("endpoints: [{id: a, copies: 0}]", "endpoints.0.copies: "),
    ("endpoints: [{id: a, returns: 5s}]", "endpoints.0: returns needs an earlier drains"),
    ("endpoints: [{id: a, joins: 5s, leaves: 4s}]", "endpoints.0: leaves is not after joins"),
    ("endpoints: [{id: a, joins: 5s, drains: 4s}]", "endpoints.0: drains is not after joins"),
    ("endpoints: [{id: a, joins: 5s}]", "all of them join later"),
    (ONE + "faults: [{kind: fails, endpoint: b}]", "faults.0.endpoint: no endpoint 'b'"),
    (ONE + "faults: [{kind: fals, endpoint: a}]", "faults.0.kind: unknown kind 'fals'"),
    (ONE + "faults: [{kind: fails, endpoint: a, start: 5s, end: 5s}]", "end is not after start"),
    (ONE + "faults: [{kind: hangs, endpoint: a}]\npolicy: {timeout: null}", "policy.timeout: is needed"),
    (ONE + "arrivals: {rate: 5, callers: 5}", "arrivals: give either rate"),
    (ONE + "arrivals: {rate: '5'}", "arrivals.rate: "),
    (ONE + "balancers: [peak_ewm]", "did you mean 'peak_ewma'?"),
    (ONE + "balancers: []", "balancers: the list is empty"),
    (ONE + "calls: many", "calls: "),
    (ONE + "sessions: {count: 0}", "sessions.count: "),
]


@pytest.mark.parametrize(("written", "told"), BAD, ids=[told for _, told in BAD])
def test_a_scenario_that_is_wrong_says_where_and_what(tmp_path: Path, written: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, written)
    assert str(raised.value).startswith(f"{tmp_path / 'own.yaml'}: ")
    assert told in str(raised.value)


def test_a_name_that_is_not_shipped_says_which_are() -> None:
    with pytest.raises(ConfigError, match=r"no scenario 'slow-one' is .*did you mean 'slow-one-of-ten'"):
        Scenario.load("slow-one")
