"""Round robin is exact, whoever asks and however many ask at once."""

from __future__ import annotations

from collections import Counter
from random import Random
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.balancer import RoundRobin
from tests.balancer.standin import PLAIN, picks, standins


def test_each_has_its_turn_in_order() -> None:
    balancer, candidates = RoundRobin(), standins(3)
    got = [balancer.pick(candidates, PLAIN, 0.0, Random(0)).endpoint.id for _ in range(7)]
    assert got == ["e0", "e1", "e2", "e0", "e1", "e2", "e0"]


def test_load_and_weight_make_no_difference() -> None:
    candidates = standins(4, in_flight=[0, 9, 99, 999], weight=[1.0, 2.0, 3.0, 4.0])
    assert set(picks(RoundRobin(), candidates, 400).values()) == {100}


@given(st.integers(1, 50), st.integers(1, 20))
def test_any_number_of_turns_is_shared_exactly(n: int, turns: int) -> None:
    assert set(picks(RoundRobin(), standins(n), n * turns).values()) == {turns}


def test_eight_threads_share_exactly() -> None:
    balancer, candidates = RoundRobin(), standins(5)
    counts: list[Counter[str]] = []

    def ask() -> None:
        rng = Random(0)
        counts.append(Counter(balancer.pick(candidates, PLAIN, 0.0, rng).endpoint.id for _ in range(5_000)))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(sum(counts, Counter()).values()) == {8_000}


def test_a_turn_is_found_when_there_are_fewer_to_choose_from() -> None:
    balancer = RoundRobin()
    for n in (5, 3, 1, 4, 2):
        candidates = standins(n)
        assert balancer.pick(candidates, PLAIN, 0.0, Random(0)) in candidates


def test_its_name_and_its_repr() -> None:
    assert RoundRobin.name == "round_robin"
    assert repr(RoundRobin()) == "RoundRobin()"
