"""A balancer by its name, or one of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.balancer import PeakEwma, PowerOfTwo, RoundRobin
from langchain_cluster.balancer.registry import BALANCERS, balancer_named
from langchain_cluster.errors import PluginError
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock


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
