"""What makes no sense is refused with an error that says where and what, and changes no pick."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from langchain_cluster.errors import ConfigError, NoEndpointAvailable
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint, EndpointStatus, Load
from langchain_cluster.plugins import make_balancer
from tests.pool.watched import Watched


@pytest.mark.parametrize("weight", [-1, -0.001, nan, inf, -inf, 10**400, "2", None, True])
def test_a_weight_that_is_none_makes_no_endpoint(weight: Any) -> None:
    with pytest.raises(ConfigError, match=r"endpoint 'a': weight .* is not a finite number >= 0"):
        Endpoint("a", weight=weight)


def test_a_pool_without_endpoints_says_so() -> None:
    watched = Watched("a")
    watched.pool.remove("a")
    with pytest.raises(NoEndpointAvailable, match=r"^the pool is empty$") as nobody:
        watched.pool.acquire()
    assert (nobody.value.why, nobody.value.retry_after) == ({}, None)


def test_one_id_for_two_places_is_refused_and_changes_nothing() -> None:
    first, second = Endpoint("a", url="http://one"), Endpoint("a", url="http://two")
    with pytest.raises(ConfigError, match=r"endpoints\[1\]\.id: two endpoints have the id 'a'"):
        Watched(first, second)
    watched = Watched(first, "b")
    for change in (lambda: watched.pool.add(second), lambda: watched.pool.replace([first, second])):
        with pytest.raises(ConfigError, match="two endpoints have the id 'a'"):
            change()
    with pytest.raises(ConfigError, match="the id 'a' belongs to another endpoint"):
        watched.pool.register(second)
    assert watched["a"].endpoint is first
    assert watched.asked() == {"a", "b"}


@pytest.mark.parametrize("load", [None, Load(connections=1)])
def test_a_heartbeat_of_a_stranger_is_refused(load: Load | None) -> None:
    watched = Watched("gpu-1", "gpu-2")
    with pytest.raises(ConfigError, match=r"no endpoint 'gpu-11' in the pool.*did you mean 'gpu-1'"):
        watched.pool.heartbeat("gpu-11", load=load)
    assert len(watched.pool) == 2


@pytest.mark.parametrize("number", [nan, inf, 10**400, -1, "much", True])
@pytest.mark.parametrize(
    "name", ["connections", "qps", "memory_mb", "cpu_percent", "gpu_cache_percent", "queued"]
)
def test_a_load_of_nonsense_is_no_load(name: str, number: Any) -> None:
    with pytest.raises(ConfigError, match=rf"load\.{name}: .* is not a finite number >= 0"):
        Load(**{name: number})


def test_a_report_beyond_all_measure_only_makes_an_endpoint_the_last() -> None:
    watched = Watched("a", "b", balancer="adaptive")
    watched.pool.heartbeat("a", load=Load(cpu_percent=1e300, connections=10**30, memory_mb=1e300))
    watched.pool.heartbeat("b", load=Load(cpu_percent=50.0))
    assert watched.asked() == {"b"}


@pytest.mark.parametrize("key", [5, 1.5, b"t-1", ("t", 1), True])
def test_a_key_that_is_not_text_picks_nobody(key: Any) -> None:
    watched = Watched("a", "b", balancer="consistent_hash")
    with pytest.raises(ConfigError, match=r"request\.key: .* is not a text"):
        watched.pool.acquire(Request(key=key))
    assert [member.in_flight for member in watched.pool] == [0, 0]


@pytest.mark.parametrize("status", ["asleep", "", None, 1, Load()])
def test_a_status_that_is_none_is_told_the_valid_ones(status: Any) -> None:
    watched = Watched("a")
    with pytest.raises(
        ConfigError, match=r"endpoint 'a': unknown status .*: expected one of online, offline"
    ):
        watched.pool.set_status("a", status)
    assert watched["a"].status is EndpointStatus.ONLINE
    watched.pool.set_status("a", "busy")  # type: ignore[arg-type]
    assert watched["a"].status is EndpointStatus.BUSY


def test_a_status_that_is_nearly_one_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'offline'"):
        Watched("a").pool.set_status("a", "off-line")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("consistent_hash", {"vnodes": -1}, "balancer.vnodes: vnodes -1 is not an integer from 1"),
        ("consistent_hash", {"vnode": 40}, "consistent_hash has no option 'vnode'.*did you mean 'vnodes'"),
        ("consistent_hash", {"bound": nan}, "balancer.bound: bound nan is not"),
        ("round_robin", {"vnodes": 40}, "round_robin takes no options, not even 'vnodes'"),
        ("peak_ewma", {"decay": "long"}, "decay 'long'"),
        ("consistent", {}, "unknown balancer 'consistent'.*did you mean 'consistent_hash'"),
    ],
)
def test_a_balancers_options_are_checked_however_they_are_given(kind: str, options: Any, told: str) -> None:
    for make in (lambda: make_balancer(kind, options), lambda: make_balancer(kind, **options)):
        with pytest.raises(ConfigError, match=told):
            make()


def test_options_of_a_balancer_may_be_given_by_name() -> None:
    made: Any = make_balancer("consistent_hash", {"vnodes": 40, "bound": 2.0}, vnodes=80)
    assert (made.vnodes, made.bound) == (80, 2.0)
