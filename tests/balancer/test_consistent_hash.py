"""Consistent hashing: a key has one home, few keys move, and no home gets more than it should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import accumulate
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_cluster.balancer import ConsistentHash
from langchain_cluster.balancer.ring import SLOTS, Ring, digest
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.plugins import make_balancer
from langchain_cluster.pool.pool import Pool
from langchain_cluster.testing.clock import FakeClock
from tests.balancer.standin import PLAIN, Standin, standins

ROOT = Path(__file__).parents[2]
KEYS = [f"session-{i}" for i in range(100_000)]


def named(ids: Any, **weights: float) -> tuple[Standin, ...]:
    return tuple(Standin(Endpoint(id), i, weight=weights.get(id, 1.0)) for i, id in enumerate(ids))


def homes(candidates: Any, keys: list[str] = KEYS, balancer: Any = None) -> list[str]:
    balancer, rng = balancer or ConsistentHash(), Random(1)
    return [balancer.pick(candidates, Request(key=key), 0.0, rng).endpoint.id for key in keys]


HUNDRED = [f"gpu-{i}" for i in range(100)]


@pytest.fixture(scope="module")
def before() -> list[str]:
    return homes(named(HUNDRED))


def test_each_of_a_hundred_has_about_its_part(before: list[str]) -> None:
    counts = Counter(before)
    assert set(counts) == set(HUNDRED)
    assert all(0.0065 <= count / len(KEYS) <= 0.0140 for count in counts.values())


@pytest.mark.parametrize("gone", ["gpu-0", "gpu-57", "gpu-99"])
def test_removing_one_moves_only_its_own_keys(before: list[str], gone: str) -> None:
    after = homes(named(id for id in HUNDRED if id != gone))
    assert all(old == new for old, new in zip(before, after, strict=True) if old != gone)
    assert gone not in after


@pytest.mark.parametrize("new", ["gpu-100", "another", "é"])
def test_adding_one_moves_only_what_will_be_its_own(before: list[str], new: str) -> None:
    after = homes(named([*HUNDRED, new]))
    moved = [now for old, now in zip(before, after, strict=True) if old != now]
    assert set(moved) == {new}
    assert 0.0070 <= len(moved) / len(KEYS) <= 0.0135


def test_the_order_of_endpoints_does_not_matter(before: list[str]) -> None:
    ids = list(HUNDRED)
    Random(4).shuffle(ids)
    assert homes(named(ids), KEYS[:5000]) == before[:5000]


def test_nothing_depends_on_the_process_or_how_python_hashes(before: list[str]) -> None:
    program = (
        "from tests.balancer.test_consistent_hash import HUNDRED, KEYS, homes, named\n"
        "print(homes(named(HUNDRED), KEYS[:300]))"
    )
    said = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert said == {f"{before[:300]}\n"}


def test_homes_are_the_same_in_every_version() -> None:
    assert homes(named("abcde"), [f"k{i}" for i in range(20)]) == list(PINNED)


PINNED = "beaedaaddcbebcecdadd"


@settings(max_examples=40)
@given(
    st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=9, unique=True),
    st.lists(st.text(), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_ids_in_any_order_give_any_text_the_same_home(ids: list[str], keys: list[str], rng: Any) -> None:
    first = homes(named(ids), keys)
    rng.shuffle(ids)
    assert homes(named(ids), keys) == first
    gone = ids.pop()
    assert all(a == b for a, b in zip(first, homes(named(ids), keys), strict=True) if a != gone)


def test_half_a_surrogate_pair_is_a_text() -> None:
    assert len(set(homes(named("abc"), ["\ud800"] * 5))) == 1


def test_the_table_says_what_the_ring_says() -> None:
    ring = Ring(named(HUNDRED, **{"gpu-3": 0.2, "gpu-9": 4.0}), 160)
    assert len(ring.slots) == SLOTS
    rng = Random(2)
    for _ in range(3000):
        bits = rng.getrandbits(64)
        assert ring.slots[bits >> 48] is next(ring.walk(bits)) is ring.home(bits, ring.members)


def test_heavy_endpoints_get_more_keys() -> None:
    counts = Counter(homes(named("abcd", a=3.0, b=2.0), KEYS[:40_000]))
    assert [counts[id] / 40_000 for id in "abcd"] == pytest.approx([3 / 7, 2 / 7, 1 / 7, 1 / 7], rel=0.2)
    for weight in (1e-300, 5e-324):  # the smallest there is
        assert set(homes(named("ab", a=weight, b=weight), KEYS[:100])) == {"a", "b"}
    light = Counter(homes(named("ab", a=0.003, b=0.001), KEYS[:40_000]))
    assert light["a"] / 40_000 == pytest.approx(0.75, rel=0.1)


def test_weights_without_measure_do_not_make_the_ring_endless() -> None:
    ring = Ring(named("abc", a=1e9, b=1.0, c=5e8), 160)
    assert len(ring.slots) == SLOTS


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(min_size=1).filter(str.strip), st.sampled_from([1.0, 1.0, 2.0, 0.5]), min_size=2),
    st.randoms(use_true_random=False),
)
def test_a_ring_cut_out_of_another_is_the_ring_of_those_who_are_left(weights: Any, rng: Any) -> None:
    candidates = tuple(Standin(Endpoint(id), weight=weight) for id, weight in weights.items())
    whole = Ring(candidates, 8)
    for _ in range(3):
        left = tuple(rng.sample(candidates, rng.randint(1, len(candidates))))
        cut = whole.of(left)
        if cut is None:  # without the heaviest all points are others
            assert max(c.weight for c in left) < 1.0
            continue
        assert cut.slots == Ring(left, 8).slots
        whole = cut  # from which the next one is cut, whoever is in it


def test_what_is_cut_out_of_a_ring_costs_what_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = named(HUNDRED)
    whole = Ring(candidates, 160)
    asked: list[Any] = []
    monkeypatch.setattr(Ring, "_points", counting(Ring._points, asked))
    cut = whole.of(candidates[3:])
    assert cut is not None
    assert set(asked) == set(candidates[:3])
    again = cut.of(candidates)  # they are back
    assert again is not None
    assert again.slots is whole.slots
    assert len(asked) == 3


def counting(points: Any, asked: list[Any]) -> Any:
    def counted(ring: Ring, member: Any) -> Any:
        asked.append(member)
        return points(ring, member)

    return counted


def test_another_weight_needs_a_ring_of_its_own() -> None:
    candidates = named("abc")
    whole = Ring(candidates, 160)
    candidates[0].weight = 0.5
    assert whole.of(candidates) is None
    assert whole.of(named("abc")) is None  # others, of the same names


# -- who is left ----------------------------------------------------------------------------------


def test_who_is_left_after_exclusions_answers_as_a_ring_of_its_own_would() -> None:
    candidates = named(HUNDRED)
    balancer = ConsistentHash()
    homes(candidates, KEYS[:2], balancer)
    rng = Random(3)
    for _ in range(30):
        left = tuple(c for c in candidates if rng.random() < 0.5)
        keys = rng.sample(KEYS, 20)
        assert [homes((*left,), [key], balancer)[0] for key in keys] == homes(left, keys)


def test_exclusions_build_no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    build = Ring.__init__

    def counted(self: Ring, *given: Any) -> None:
        made.append(1)
        build(self, *given)

    monkeypatch.setattr(Ring, "__init__", counted)
    candidates = named(HUNDRED)
    balancer = ConsistentHash()
    homes(candidates, KEYS[:5], balancer)
    before = len(made)
    for i in range(100):
        homes(tuple(c for c in candidates if c.index != i), KEYS[:1], balancer)
    assert len(made) == before <= 2


def test_in_a_pool_a_key_goes_elsewhere_while_its_home_is_away_and_then_comes_back() -> None:
    pool = Pool([Endpoint(id) for id in "abcde"], balancer="consistent_hash", clock=FakeClock(), seed=1)

    def ask(key: str, **options: Any) -> str:
        with pool.acquire(Request(key=key), **options) as lease:
            return lease.endpoint.id

    home = ask("s")
    assert [ask("s") for _ in range(5)] == [home] * 5
    away = ask("s", exclude=(home,))
    assert away != home
    others = {key: ask(key) for key in KEYS[:200]}
    pool.drain(home)
    assert [ask("s") for _ in range(5)] == [away] * 5
    assert all(ask(key) == at for key, at in others.items() if at != home)
    pool.undrain(home)
    assert [ask("s") for _ in range(5)] == [home] * 5


# -- bounded load -----------------------------------------------------------------------------------


def most_allowed(pool: Pool, bound: float) -> int:
    members = pool.snapshot.members
    return ceil(bound * sum(m.in_flight for m in members) / len(members))


@pytest.mark.parametrize(("n", "bound"), [(3, 1.25), (10, 1.25), (10, 1.01), (133, 1.25), (10, 2.0)])
def test_nobody_ever_exceeds_the_bound(n: int, bound: float) -> None:
    pool = Pool(
        [Endpoint(f"e{i}") for i in range(n)],
        balancer=ConsistentHash(bound=bound),
        clock=FakeClock(),
        breaker=None,
        seed=1,
    )
    rng, held = Random(2), []
    hot = list(accumulate(1.0 / rank for rank in range(1, 301)))
    for step in range(3000):
        key = rng.choices(KEYS[:300], cum_weights=hot)[0]
        lease = pool.acquire(Request(key=key))
        held.append(lease)
        assert lease.member.in_flight <= most_allowed(pool, bound)
        while held and rng.random() < (0.45 if step < 1500 else 0.5):
            held.pop(rng.randrange(len(held))).__exit__(None, None, None)


def test_one_key_for_all_calls_is_spread_to_the_last_place() -> None:
    pool = Pool(
        [Endpoint(f"e{i}") for i in range(7)], balancer="consistent_hash", clock=FakeClock(), breaker=None
    )
    for _ in range(70):
        member = pool.acquire(Request(key="hot")).member
        assert member.in_flight <= most_allowed(pool, 1.25)
    assert sorted(m.in_flight for m in pool)[-1] <= 13


def test_of_zipf_traffic_most_stays_at_home() -> None:
    pool = Pool([Endpoint(f"e{i}") for i in range(20)], balancer="consistent_hash", clock=FakeClock(), seed=1)
    where = dict(zip(KEYS[:1000], homes(pool.snapshot.ready, KEYS[:1000]), strict=True))
    rng, stayed = Random(5), 0
    held: list[Any] = []
    zipf = list(accumulate(1.0 / rank for rank in range(1, 1001)))
    for _ in range(8000):
        if len(held) >= 100:
            held.pop(rng.randrange(len(held))).__exit__(None, None, None)
        key = rng.choices(KEYS[:1000], cum_weights=zipf)[0]
        held.append(pool.acquire(Request(key=key)))
        stayed += held[-1].endpoint.id == where[key]
        assert held[-1].member.in_flight <= most_allowed(pool, 1.25)
    print(f"{stayed / 8000:.1%} at home")
    assert stayed / 8000 >= 0.6


def test_heavy_endpoints_may_have_more_calls() -> None:
    ring = Ring(named("ab", a=3.0), 160)
    a, b = sorted(ring.members, key=lambda m: m.endpoint.id)
    a.in_flight, b.in_flight = 7, 2
    assert ring.fits(a, 1.25)  # 10 calls, of which a may have 7.5 x 1.25
    assert ring.fits(b, 1.25)  # and b 2.5 x 1.25, rounded up
    b.in_flight = 5
    assert not ring.fits(b, 1.25)


def test_a_key_spills_to_the_same_place_again_and_not_all_to_one() -> None:
    candidates, balancer = named(HUNDRED), ConsistentHash()
    where = homes(candidates, KEYS[:3000], balancer)
    full = Counter(where).most_common(1)[0][0]
    keys = [key for key, home in zip(KEYS[:3000], where, strict=True) if home == full]
    next(c for c in candidates if c.endpoint.id == full).in_flight = 50
    spilled = homes(candidates, keys, balancer)
    assert full not in spilled
    assert len(set(spilled)) > len(keys) / 3
    assert homes(candidates, keys, ConsistentHash()) == spilled
    assert homes(named(HUNDRED), keys, balancer) == [full] * len(keys)


def test_without_a_key_the_less_busy_of_two_answers() -> None:
    candidates = standins(2, in_flight=[3, 0])
    balancer, rng = ConsistentHash(), Random(1)
    assert {balancer.pick(candidates, PLAIN, 0.0, rng).index for _ in range(50)} == {1}


# -- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vnodes", [-1, 0, 1.5, True, "160", 10_001])
def test_a_number_of_points_is_an_integer_in_its_range(vnodes: Any) -> None:
    with pytest.raises(ConfigError, match="is not an integer from 1 to 10000") as caught:
        ConsistentHash(vnodes=vnodes)
    assert caught.value.key == "balancer.vnodes"


@pytest.mark.parametrize("bound", [1, 1.0, 0.5, -2.0, float("nan"), float("inf"), "1.25", None, True])
def test_a_bound_is_above_1(bound: Any) -> None:
    with pytest.raises(ConfigError, match="is not a finite number > 1") as caught:
        ConsistentHash(bound=bound)
    assert caught.value.key == "balancer.bound"


@pytest.mark.parametrize("key", [5, b"bytes", ("a", "b"), 1.5])
def test_a_key_that_is_no_text_is_an_error(key: Any) -> None:
    with pytest.raises(ConfigError, match="is not a text") as caught:
        homes(named("abc"), [key])
    assert caught.value.key == "request.key"


def test_a_key_may_be_another_field_or_worked_out() -> None:
    candidates, rng = named("abcdefgh"), Random(1)
    by_tenant = ConsistentHash(key="tenant")
    asked = [Request(key=key, tenant="t") for key in KEYS[:20]]
    assert len({by_tenant.pick(candidates, request, 0.0, rng) for request in asked}) == 1
    by_start = ConsistentHash(key=lambda request: request.key and request.key[:7])
    assert len({by_start.pick(candidates, request, 0.0, rng) for request in asked}) == 1
    assert len(set(homes(candidates, KEYS[:20]))) > 3


def test_an_unknown_field_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tenant'"):
        ConsistentHash(key="tennant")
    with pytest.raises(ConfigError, match="neither a field's name nor a function"):
        ConsistentHash(key=5)  # type: ignore[arg-type]


def test_options_come_through_the_registry() -> None:
    made = make_balancer("consistent_hash", {"vnodes": 40, "bound": 2.0, "key": "tenant"})
    assert (made.vnodes, made.bound, made.key) == (40, 2.0, "tenant")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="consistent_hash has no option 'replicas'"):
        make_balancer("consistent_hash", {"replicas": 40})


def test_digests_of_texts_are_xxh3() -> None:
    assert digest("") == 0x2D06800538D394C2  # the specification's own vector


def test_its_name_and_its_repr() -> None:
    assert ConsistentHash.name == "consistent_hash"
    assert repr(ConsistentHash()) == "ConsistentHash(vnodes=160, bound=1.25)"
