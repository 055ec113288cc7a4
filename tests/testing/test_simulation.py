"""Traffic in virtual time: the same seed, the same result, and every call accounted for."""

import pytest

from langchain_cluster import ConfigError, Endpoint
from langchain_cluster.testing import ClosedLoop, Failing, Fixed, LogNormal, Poisson, simulate
from langchain_cluster.testing.simulated.latency import Uniform

TEN = [Endpoint(f"e{n}") for n in range(10)]
ONE_SLOW = {f"e{n}": LogNormal(1.0 if n == 0 else 0.1, 0.5) for n in range(10)}


def test_the_same_seed_gives_the_same_result() -> None:
    first, again, other = (
        simulate(TEN, service=ONE_SLOW, calls=2_000, arrivals=Poisson(400), seed=seed) for seed in (1, 1, 2)
    )
    assert (first.served, first.latencies) == (again.served, again.latencies)
    assert first.latencies != other.latencies


@pytest.mark.parametrize("arrivals", [Poisson(100.0), ClosedLoop(20)])
def test_every_call_is_accounted_for(arrivals: Poisson | ClosedLoop) -> None:
    failing = [Failing("e1", 0.01, probability=0.5)]
    result = simulate(TEN, failing=failing, arrivals=arrivals, calls=3_000, seed=3)
    assert result.calls + result.refused == 3_000
    assert sum(result.share(endpoint.id) for endpoint in TEN) == pytest.approx(1.0)
    assert len(result.latencies) == sum(result.served.values())


@pytest.mark.parametrize(("balancer", "most"), [("power_of_two", 0.022), ("peak_ewma", 0.010)])
def test_an_endpoint_ten_times_slower_gets_little(balancer: str, most: float) -> None:
    shares = [
        simulate(TEN, balancer=balancer, service=ONE_SLOW, arrivals=ClosedLoop(50), calls=20_000, seed=seed)
        for seed in range(3)
    ]
    assert max(result.share("e0") for result in shares) <= most


def test_round_robin_does_not_care() -> None:
    result = simulate(
        TEN, balancer="round_robin", service=ONE_SLOW, arrivals=ClosedLoop(50), calls=5_000, seed=1
    )
    assert result.share("e0") == pytest.approx(0.1)


def test_an_endpoint_that_is_down_is_left_alone_and_comes_back() -> None:
    down = Failing("e0", seconds=0.01, start=10.0, end=40.0)
    result = simulate(TEN, failing=[down], arrivals=Poisson(100), calls=10_000, seed=1)
    assert 0 < result.failed["e0"] <= 60
    assert result.served["e0"] > 400  # 100 of them before it went down: it came back


def test_the_pool_can_be_changed_on_the_way() -> None:
    changes = [(5.0, lambda pool: pool.remove("e0")), (5.0, lambda pool: pool.add(Endpoint("new")))]
    result = simulate(TEN, arrivals=Poisson(100), calls=2_000, changes=changes, seed=1)
    assert result.served["new"] > 100
    assert result.served["e0"] < 100


def test_service_times_count() -> None:
    result = simulate([Endpoint("a")], service={"a": Fixed(0.25)}, arrivals=ClosedLoop(1), calls=40)
    assert result.quantile(0.5) == pytest.approx(0.25)
    assert result.seconds == pytest.approx(10.0)


def test_an_unknown_endpoint_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no endpoint 'e11'.*did you mean 'e1'"):
        simulate(TEN, service={"e11": Fixed(1.0)})


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "soon", True])
def test_a_time_that_is_none_is_refused(seconds: object) -> None:
    for service in (seconds, {"e1": seconds}):
        with pytest.raises(ConfigError, match=r"^service"):
            simulate(TEN, service=service, calls=1)  # type: ignore[arg-type]
    for make in (Fixed, lambda s: Uniform(s, 1.0), lambda s: Uniform(1.0, s), lambda s: LogNormal(s, 0.5)):
        with pytest.raises(ConfigError, match="is not a finite number >= "):
            make(seconds)  # type: ignore[arg-type]


def test_the_other_numbers_of_a_distribution_are_checked_too() -> None:
    for make, told in (
        (lambda: Uniform(2.0, 1.0), "Uniform.high: 1.0 is not a finite number >= 2"),
        (lambda: LogNormal(0.0, 1.0), "LogNormal.median: its logarithm is taken, and 0 has none"),
        (lambda: LogNormal(1.0, -1.0), "LogNormal.sigma: -1.0 is not a finite number >= 0"),
    ):
        with pytest.raises(ConfigError, match=told):
            make()


@pytest.mark.parametrize("q", [-0.1, 1.1, 99, float("nan")])
def test_a_quantile_is_a_part(q: float) -> None:
    with pytest.raises(ConfigError, match=r"q: .* is not a number from 0 to 1"):
        simulate(TEN, calls=10).quantile(q)
