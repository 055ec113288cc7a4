"""A balancer by its name, or one of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from langchain_cluster import Cluster
from langchain_cluster.balancer import PeakEwma, PowerOfTwo, RoundRobin
from langchain_cluster.balancer.registry import BALANCERS, balancer_named
from langchain_cluster.errors import ConfigError, PluginError
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing import FakeClock, ScriptedModel


def test_every_name_gives_a_new_balancer_of_its_kind() -> None:
    mine = {"peak_ewma": PeakEwma, "power_of_two": PowerOfTwo, "round_robin": RoundRobin}
    assert {name: BALANCERS[name] for name in mine} == mine
    for name, kind in BALANCERS.items():
        balancer = balancer_named(name)
        assert type(balancer) is kind
        assert balancer.name == name
        assert balancer_named(name) is not balancer


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(PluginError) as caught:
        balancer_named("peak_ewna")
    assert str(caught.value).startswith("unknown balancer 'peak_ewna': expected one of ")
    assert str(caught.value).endswith("; did you mean 'peak_ewma'?")
    assert caught.value.valid == tuple(sorted(BALANCERS))


class First:
    """The first of them all."""

    name = "first"

    def pick(self, candidates: Any, request: Any, now: float, rng: Any) -> Any:
        return candidates[0]


def test_one_of_ones_own_is_used_as_it_is() -> None:
    first = First()
    assert balancer_named(first) is first
    assert Pool(clock=FakeClock(), balancer=first).balancer is first


@pytest.mark.parametrize("bad", [5, None, object(), []])
def test_what_cannot_pick_is_no_balancer(bad: Any) -> None:
    with pytest.raises(PluginError):
        balancer_named(bad)


def test_a_class_is_no_balancer() -> None:
    with pytest.raises(ConfigError, match=r"First is a class: give one of its kind, First\(\)"):
        balancer_named(First)  # type: ignore[arg-type]


class Picks:
    """Picks what it is told to."""

    def __init__(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        self._pick = pick

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        return self._pick(candidates)


def test_one_without_a_name_balances_a_pool_and_no_cluster() -> None:
    endpoints = [Endpoint(id, ScriptedModel("hi")) for id in "ab"]
    last = Picks(lambda candidates: candidates[-1])
    assert Pool(endpoints, clock=FakeClock(), balancer=last).acquire().endpoint.id == "b"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"balancer\.name: .*Picks.* has no name"):
        Cluster(endpoints, balancer=last)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pick", [lambda c: None, lambda c: c[0].endpoint, lambda c: c[0].endpoint.id, lambda c: object()]
)
def test_a_pick_that_is_no_candidate_is_refused(pick: Any) -> None:
    pool = Pool([Endpoint("a"), Endpoint("b")], clock=FakeClock(), balancer=Picks(pick))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"balancer\.pick: .*Picks.* picked .*, which is none of its cand"):
        pool.acquire()
    assert [member.in_flight for member in pool] == [0, 0]


def test_an_endpoint_that_has_left_is_not_asked_however_well_a_balancer_remembers_it() -> None:
    known: list[Any] = []

    def the_first_ever(candidates: Sequence[Any]) -> Any:
        known.extend(candidates)
        return known[0]

    pool = Pool([Endpoint(id) for id in "abc"], clock=FakeClock(), balancer=Picks(the_first_ever))  # type: ignore[arg-type]
    with pool.acquire() as lease:
        assert lease.endpoint.id == "a"
    pool.remove("a")
    with pytest.raises(ConfigError, match="which is none of its candidates"):
        pool.acquire()
