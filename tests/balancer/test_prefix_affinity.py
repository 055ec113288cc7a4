"""Prefix affinity: prompts that begin alike share a home, unless it is busy or slow."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from langchain_cluster.balancer import PrefixAffinity
from langchain_cluster.balancer.prefix_affinity import BLOCK
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.plugins import make_balancer
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import PLAIN, standins

SYSTEM = "You are the assistant of a shop that sells lamps, and you answer briefly and politely. " * 20


def place(balancer: PrefixAffinity, candidates: Any, prefix: Any, now: float = 0.0, **facts: Any) -> Any:
    return balancer.pick(candidates, Request(prefix=prefix, **facts), now, Random(1))


def many(balancer: PrefixAffinity, candidates: Any, prefixes: list[str], **facts: Any) -> set[Any]:
    return {place(balancer, candidates, prefix, **facts) for prefix in prefixes}


def test_prompts_with_a_common_beginning_share_a_home() -> None:
    balancer, candidates = PrefixAffinity(), standins(8)
    assert len(many(balancer, candidates, [f"{SYSTEM} Question {i}?" for i in range(40)])) == 1


def test_prompts_that_begin_otherwise_are_spread() -> None:
    balancer, candidates = PrefixAffinity(), standins(8)
    got = Counter(place(balancer, candidates, f"{i} {SYSTEM}").index for i in range(4000))
    assert all(got[i] == pytest.approx(500, rel=0.35) for i in range(8))


def test_only_so_many_blocks_count() -> None:
    candidates = standins(8)
    beginning = SYSTEM[: 4 * BLOCK]
    prompts = [f"{beginning}{i} and something else that fills blocks" * 5 for i in range(40)]
    assert len(many(PrefixAffinity(blocks=4), candidates, prompts)) == 1
    assert len(many(PrefixAffinity(blocks=5), candidates, prompts)) > 3


def test_a_part_of_a_block_does_not_count_unless_it_is_all() -> None:
    balancer, candidates = PrefixAffinity(), standins(8)
    assert len(many(balancer, candidates, [SYSTEM[: 3 * BLOCK] + f"{i}" for i in range(40)])) == 1
    assert len(many(balancer, candidates, [f"short {i}" for i in range(40)])) > 3


def test_another_model_is_another_home() -> None:
    balancer, candidates = PrefixAffinity(), standins(8)
    assert len({place(balancer, candidates, SYSTEM, model=f"m{i}") for i in range(40)}) > 3
    assert len({place(balancer, candidates, SYSTEM, model="m") for i in range(40)}) == 1


def test_a_busy_home_is_left_and_always_for_the_same_place() -> None:
    balancer, candidates = PrefixAffinity(), standins(8, in_flight=[4] * 8)
    home = place(balancer, candidates, SYSTEM)
    home.in_flight = 6  # of 35 calls with this one an eighth and a quarter more are 5.5
    assert len(many(balancer, candidates, [SYSTEM] * 20) - {home}) == 1
    home.in_flight = 5
    assert place(balancer, candidates, SYSTEM) is home


def test_only_candidates_count_as_load() -> None:
    """The average of the living is what a home is held against, not one with dead endpoints' zeros in it."""
    pool = Pool([Endpoint(f"e{i}") for i in range(10)], balancer="prefix_affinity", clock=FakeClock(), seed=1)
    for i in range(2, 10):
        pool.force_open(f"e{i}")
    for id in ("e0", "e1"):
        member = pool.get(id)
        assert member is not None
        member.in_flight = 10
    home = {pool.acquire(Request(prefix=SYSTEM)).endpoint.id for _ in range(2)}
    assert len(home) == 1  # 10 of 20 is an even half; over all ten it would be five times the average


def two_homes(balancer: PrefixAffinity, candidates: Any) -> tuple[Any, Any]:
    home = place(balancer, candidates, SYSTEM)
    home.ewma_seconds, home.ewma_at = 1e9, 0.0
    for candidate in candidates:
        if candidate is not home:
            candidate.ewma_seconds = 1.0
    return home, place(balancer, candidates, SYSTEM)


def test_a_home_that_is_too_slow_is_left() -> None:
    balancer, candidates = PrefixAffinity(penalty=3.0), standins(2)
    for prefix in (f"{i} {SYSTEM}" for i in range(100)):
        home = place(balancer, candidates, prefix)
        (other,) = (c for c in candidates if c is not home)
        home.ewma_seconds, other.ewma_seconds = 10.0, 1.0
        second = place(balancer, candidates, prefix)
        if second is other:
            home.ewma_seconds = 2.9
            assert place(balancer, candidates, prefix) is home
            home.ewma_seconds = 3.1
            assert place(balancer, candidates, prefix) is other
            break
        home.ewma_seconds = other.ewma_seconds = 0.0
    else:
        pytest.fail("nobody has a second home")


def test_a_home_that_was_slow_long_ago_is_tried_again() -> None:
    balancer, candidates = PrefixAffinity(), standins(30)
    home, second = two_homes(balancer, candidates)
    assert second is not home
    home.ewma_seconds = 300.0
    assert place(balancer, candidates, SYSTEM, now=1.0) is second
    assert place(balancer, candidates, SYSTEM, now=30.0) is home


def test_a_home_that_has_just_computed_a_new_prompt_is_not_taken_for_sick() -> None:
    balancer, candidates = PrefixAffinity(), standins(2)
    for prefix in (f"{i} {SYSTEM}" for i in range(50)):
        home = place(balancer, candidates, prefix)
        (other,) = (c for c in candidates if c is not home)
        home.ewma_seconds, other.ewma_seconds = 2.0, 0.2  # cold here, cached there
        assert place(balancer, candidates, prefix) is home


def test_a_slow_home_is_not_left_for_one_that_is_full() -> None:
    balancer, candidates = PrefixAffinity(), standins(30)
    home, second = two_homes(balancer, candidates)
    second.in_flight = 9
    assert place(balancer, candidates, SYSTEM) is home


def test_who_joins_or_leaves_moves_few_prefixes() -> None:
    prefixes = [f"{i} {SYSTEM}" for i in range(400)]
    candidates = standins(8)
    before = [place(PrefixAffinity(), candidates, p).index for p in prefixes[:1]]
    balancer = PrefixAffinity()
    before = [place(balancer, candidates, p).index for p in prefixes]
    left = candidates[:7]
    after = [place(balancer, left, p).index for p in prefixes]
    assert all(a == b for a, b in zip(before, after, strict=True) if a != 7)


def test_who_is_left_after_exclusions_keeps_the_others_homes() -> None:
    pool = Pool([Endpoint(f"e{i}") for i in range(6)], balancer="prefix_affinity", clock=FakeClock(), seed=1)

    def ask(**options: Any) -> str:
        with pool.acquire(Request(prefix=SYSTEM), **options) as lease:
            return lease.endpoint.id

    home = ask()
    assert {ask() for _ in range(5)} == {home}
    away = {ask(exclude=(home,)) for _ in range(5)}
    assert len(away) == 1
    assert home not in away
    pool.drain(home)
    assert {ask() for _ in range(5)} == away


@pytest.mark.parametrize("prefix", [None, ""])
def test_without_a_prefix_the_less_busy_of_two_answers(prefix: str | None) -> None:
    balancer, candidates = PrefixAffinity(), standins(2, in_flight=[3, 0])
    assert {place(balancer, candidates, prefix).index for _ in range(50)} == {1}
    assert {balancer.pick(candidates, PLAIN, 0.0, Random(i)).index for i in range(50)} == {1}


def test_half_a_surrogate_pair_is_a_text() -> None:
    assert len(many(PrefixAffinity(), standins(5), ["\ud800 x"] * 5)) == 1


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"blocks": 0}, "balancer.blocks"),
        ({"blocks": 1.5}, "balancer.blocks"),
        ({"bound": 1.0}, "balancer.bound"),
        ({"penalty": 0.5}, "balancer.penalty"),
        ({"penalty": float("nan")}, "balancer.penalty"),
        ({"penalty": "3"}, "balancer.penalty"),
    ],
)
def test_options_out_of_range_are_errors(options: Any, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_balancer("prefix_affinity", options)
    assert caught.value.key == key


def test_a_prefix_that_is_no_text_is_an_error() -> None:
    with pytest.raises(ConfigError, match="is not a text"):
        place(PrefixAffinity(), standins(3), 5)


def test_its_name_and_its_repr() -> None:
    assert PrefixAffinity.name == "prefix_affinity"
    assert repr(PrefixAffinity()) == "PrefixAffinity(blocks=16, bound=1.25, penalty=100)"


@pytest.mark.parametrize("prefix", [SYSTEM, SYSTEM[: 2 * BLOCK + 7], "short", "half \ud83d of a pair"])
@pytest.mark.parametrize("model", [None, "m"])
def test_a_digest_that_the_request_brings_leads_to_the_same_home(prefix: str, model: str | None) -> None:
    balancer, candidates = PrefixAffinity(), tuple(standins(8))
    brought = balancer.digest_of(prefix, model)
    choose = balancer.prepare(candidates, Random(1))
    homes = {
        asked(Request(prefix=prefix, model=model, prefix_digest=digest))
        for digest in (None, brought)
        for asked in (lambda r: choose(r, 0.0), lambda r: balancer.pick(candidates, r, 0.0, Random(1)))
    }
    assert len(homes) == 1
