"""Bytes in a bounded dict: what is kept, for how long, who leaves, and what is counted."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.cache import CacheStats, MemoryCache, pressure
from langchain_cluster.cache.lifetime import JITTER
from langchain_cluster.cache.order import ORDERS
from langchain_cluster.cache.pressure import memory_is_short
from langchain_cluster.errors import ConfigError
from langchain_cluster.testing.clock import FakeClock

POLICIES = sorted(ORDERS)
policies = pytest.mark.parametrize("policy", POLICIES)


class Timed:
    """A cache and its clock."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.clock = FakeClock(0.0)
        self.cache = MemoryCache(*args, clock=self.clock.now, seed=1, **options)


# -- every operation -------------------------------------------------------------------------------


@policies
def test_what_is_set_can_be_got_until_it_is_deleted(policy: Any) -> None:
    cache = MemoryCache(policy=policy)
    assert cache.get("k") is None
    cache.set("k", b"v")
    assert cache.get("k") == b"v"
    assert cache.exists("k")
    cache.set("k", b"w")
    assert cache.get("k") == b"w"
    assert len(cache) == 1
    assert cache.delete("k")
    assert not cache.delete("k")
    assert not cache.exists("k")
    assert cache.get("k") is None


@policies
def test_many_at_once(policy: Any) -> None:
    cache = MemoryCache(policy=policy)
    cache.mset({"a": b"1", "b": b"2", "c": b"3"})
    assert cache.mget(["b", "x", "a"]) == [b"2", None, b"1"]
    assert cache.mdelete(["a", "x", "c"]) == 2
    assert cache.mget(["a", "b", "c"]) == [None, b"2", None]


async def test_every_operation_has_an_awaited_twin() -> None:
    cache = MemoryCache()
    await cache.aset("a", b"1", 60.0)
    await cache.amset({"b": b"2", "c": b"3"}, 60.0)
    assert await cache.aget("a") == b"1"
    assert await cache.amget(["a", "x", "b"]) == [b"1", None, b"2"]
    assert await cache.aexists("c")
    assert await cache.aexpire("c", 60.0)
    assert await cache.adelete("c")
    assert await cache.amdelete(["b", "x"]) == 1
    await cache.aset("d", b"4")
    assert await cache.aclear("d*") == 1
    assert len(cache) == 1
    await cache.aclose()
    assert len(cache) == 1


def test_clearing_goes_by_a_glob() -> None:
    cache = MemoryCache()
    cache.mset({"lc:a": b"", "lc:b": b"", "other": b"", "LC:c": b""})
    assert cache.clear("lc:*") == 2
    assert cache.clear("[o]*") == 1
    assert cache.clear() == 1
    assert cache.clear() == 0
    assert cache.stats().bytes == 0


def test_closing_leaves_a_cache_in_memory_to_whoever_shares_it() -> None:
    cache = MemoryCache()
    cache.set("k", b"v")
    cache.close()
    assert cache.get("k") == b"v"


# -- time to live ----------------------------------------------------------------------------------


@policies
def test_an_entry_lives_for_its_time_and_no_longer(policy: Any) -> None:
    timed = Timed(policy=policy)
    timed.cache.set("k", b"v", ttl=10.0)
    timed.clock.advance(9.99)
    assert timed.cache.get("k") == b"v"
    timed.clock.advance(0.01)
    assert timed.cache.get("k") is None
    assert not timed.cache.exists("k")
    assert not timed.cache.delete("k")


def test_the_caches_own_time_to_live_is_spread_and_an_entrys_own_is_not() -> None:
    timed = Timed(ttl=100.0)
    for n in range(200):
        timed.cache.set(f"spread-{n}", b"")
        timed.cache.set(f"exact-{n}", b"", ttl=100.0)
    entries = timed.cache._entries
    spread = [entries[f"spread-{n}"].expires for n in range(200)]
    assert min(spread) >= 100.0 * (1 - JITTER)
    assert max(spread) <= 100.0 * (1 + JITTER)
    assert max(spread) - min(spread) > 15.0
    assert {entries[f"exact-{n}"].expires for n in range(200)} == {100.0}


def test_without_a_time_to_live_an_entry_stays() -> None:
    timed = Timed()
    timed.cache.set("k", b"v")
    timed.clock.advance(1e12)
    assert timed.cache.get("k") == b"v"


def test_a_time_to_live_can_be_changed() -> None:
    timed = Timed()
    timed.cache.set("k", b"v", ttl=10.0)
    timed.clock.advance(5.0)
    assert timed.cache.expire("k", 20.0)
    timed.clock.advance(19.0)
    assert timed.cache.exists("k")
    timed.clock.advance(1.0)
    assert not timed.cache.expire("k", 20.0)
    assert not timed.cache.expire("never", 20.0)


@policies
def test_expired_entries_leave_as_others_are_written(policy: Any) -> None:
    timed = Timed(policy=policy, max_entries=None)
    for n in range(100):
        timed.cache.set(f"old-{n}", b"xx", ttl=1.0)
    timed.clock.advance(2.0)
    for n in range(100):
        timed.cache.set(f"new-{n}", b"x")
    stats = timed.cache.stats()
    assert (stats.entries, stats.bytes, stats.expired, stats.evictions) == (100, 100, 100, 0)


# -- bounds ----------------------------------------------------------------------------------------


@policies
def test_it_never_holds_more_entries_than_it_may(policy: Any) -> None:
    cache = MemoryCache(10, policy=policy)
    for n in range(100):
        cache.set(f"k{n}", b"v")
        assert len(cache) <= 10
        assert cache.get(f"k{n}") == b"v"  # whatever leaves, it is not what just came
    assert cache.stats().evictions == 90


@policies
def test_it_never_holds_more_bytes_than_it_may(policy: Any) -> None:
    cache = MemoryCache(None, 100, policy=policy)
    for n in range(60):
        cache.set(f"k{n}", b"x" * (n % 30))
        assert cache.stats().bytes <= 100
        assert cache.stats().bytes == sum(len(e.value) for e in cache._entries.values())
    cache.set("whole", b"x" * 100)
    assert (len(cache), cache.get("whole")) == (1, b"x" * 100)


@policies
def test_a_value_too_large_for_the_cache_is_not_kept_and_throws_nobody_out(policy: Any) -> None:
    cache = MemoryCache(None, 10, policy=policy)
    cache.set("small", b"12345")
    cache.set("k", b"old")
    cache.set("k", b"x" * 11)
    assert cache.get("k") is None  # nor is its old value: it is not the answer any more
    assert cache.get("small") == b"12345"
    assert cache.stats().bytes == 5


@policies
def test_one_entry_is_enough(policy: Any) -> None:
    cache = MemoryCache(1, policy=policy)
    for n in range(5):
        cache.set(f"k{n}", b"v")
        cache.get(f"k{n}")
        assert len(cache) == 1
        assert cache.exists(f"k{n}")


# -- who leaves ------------------------------------------------------------------------------------


def kept(policy: Any, *, uses: str, size: int = 3, then: str = "d", ttls: Any = None) -> str:
    cache = MemoryCache(size, policy=policy, clock=lambda: 0.0)
    for key in "abcdefgh"[:size]:
        cache.set(key, b"", None if ttls is None else ttls[key])
    for key in uses:
        assert cache.get(key) is not None
    for key in then:
        cache.set(key, b"", None if ttls is None else ttls.get(key))
    return "".join(sorted(cache._entries))


def test_fifo_lets_the_oldest_go_however_often_it_was_used() -> None:
    assert kept("fifo", uses="aaaa") == "bcd"
    assert kept("fifo", uses="", then="de") == "cde"


def test_lru_lets_the_least_recently_used_go() -> None:
    assert kept("lru", uses="") == "bcd"
    assert kept("lru", uses="ab") == "abd"
    assert kept("lru", uses="aabca") == "acd"
    assert kept("lru", uses="a", then="de") == "ade"


def test_lfu_lets_the_least_often_used_go_the_oldest_among_equals() -> None:
    assert kept("lfu", uses="") == "bcd"
    assert kept("lfu", uses="aab") == "abd"
    assert kept("lfu", uses="aabcc") == "acd"
    assert kept("lfu", uses="aabbcc", then="d") == "bcd"  # the newest is spared its first time
    assert kept("lfu", uses="aabbcc", then="de") == "bce"


def test_ttl_lets_the_next_to_expire_go() -> None:
    assert kept("ttl", uses="bbb", ttls={"a": 30.0, "b": 10.0, "c": 20.0, "d": 40.0}) == "acd"
    assert kept("ttl", uses="", ttls={"a": None, "b": 10.0, "c": 20.0, "d": 40.0}, then="de") == "ade"


def test_ttl_hears_of_a_time_to_live_that_was_shortened() -> None:
    cache = MemoryCache(3, policy="ttl", clock=lambda: 0.0)
    for key, ttl in (("a", 10.0), ("b", 20.0), ("c", 30.0)):
        cache.set(key, b"", ttl)
    cache.expire("c", 1.0)
    cache.set("d", b"", 100.0)
    assert sorted(cache._entries) == ["a", "b", "d"]
    cache.expire("a", 50.0)
    cache.set("e", b"", 100.0)
    assert sorted(cache._entries) == ["a", "d", "e"]


def test_sieve_lets_the_first_unused_go_and_gives_the_used_another_round() -> None:
    assert kept("sieve", uses="") == "bcd"
    assert kept("sieve", uses="a") == "acd"
    assert kept("sieve", uses="ab") == "abd"
    assert kept("sieve", uses="a", then="de") == "ade"
    assert kept("sieve", uses="ab", then="de") == "abe"  # the hand goes on from where it stood


def test_sieve_does_not_throw_out_what_just_came_when_all_others_are_in_use() -> None:
    assert kept("sieve", uses="abc") == "bcd"
    assert kept("sieve", uses="abc", then="de") == "cde"


def test_sieve_spares_hot_entries_from_a_scan() -> None:
    cache = MemoryCache(100, policy="sieve")
    for n in range(50):
        cache.set(f"hot-{n}", b"")
    for n in range(2_000):
        cache.get(f"hot-{n % 50}")
        cache.set(f"scan-{n}", b"")
    assert sum(cache.exists(f"hot-{n}") for n in range(50)) == 50


@policies
def test_a_key_that_is_written_again_is_one_entry(policy: Any) -> None:
    cache = MemoryCache(3, policy=policy)
    for n in range(500):
        cache.set("same", str(n).encode())
        cache.set(f"other-{n}", b"")
        if n % 3 == 0:
            cache.delete("same")
            cache.set("same", b"again")
        cache.get("same")
        assert len(cache) <= 3
        assert cache.exists("same")


@pytest.mark.parametrize("policy", ["lfu", "ttl"])
def test_a_key_that_comes_back_is_not_taken_for_its_former_self(policy: Any) -> None:
    cache = MemoryCache(3, policy=policy, clock=lambda: 0.0)
    cache.set("a", b"", 1.0)
    cache.delete("a")
    for key in "bc":
        cache.set(key, b"", 50.0)
        cache.get(key)
    cache.set("a", b"", 60.0)
    cache.set("d", b"", 70.0)
    assert cache.exists("d")
    cache.clear()
    cache.set("a", b"", 1.0)
    cache.delete("a")
    for key in "bcd":
        cache.set(key, b"", 50.0)
        cache.get(key)
    cache.set("a", b"", 60.0)
    assert cache.exists("a")


@pytest.mark.parametrize("policy", ["lfu", "ttl"])
def test_an_order_forgets_what_has_left(policy: Any) -> None:
    """A cache that is written to for years and never full must not grow."""
    cache = MemoryCache(1000, policy=policy)
    for n in range(5_000):
        cache.set(f"k{n % 7}", b"v")
        cache.set(f"once-{n}", b"v")
        cache.delete(f"once-{n}")
    assert len(cache) == 7
    assert len(cache._order._heap) < 100  # type: ignore[attr-defined]


# -- counts ----------------------------------------------------------------------------------------


def test_everything_is_counted() -> None:
    timed = Timed(2)
    cache = timed.cache
    assert cache.stats() == CacheStats()
    assert cache.stats().hit_ratio == 0.0
    cache.set("a", b"12")
    cache.set("b", b"345", ttl=1.0)
    cache.get("a")
    cache.mget(["a", "x", "y"])
    timed.clock.advance(2.0)
    cache.get("b")  # expired: a miss
    cache.exists("a")  # no lookup
    assert cache.stats() == CacheStats(hits=2, misses=3, sets=2, entries=2, bytes=5)
    assert cache.stats().hit_ratio == 0.4
    assert repr(cache) == "<MemoryCache sieve, 2 of 2 entries, 40% hits>"
    assert repr(MemoryCache(None, policy="lru")) == "<MemoryCache lru, 0 entries, 0% hits>"


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"max_entries": 0},
        {"max_entries": -1},
        {"max_entries": 1.5},
        {"max_entries": True},
        {"max_entries": "10"},
        {"max_bytes": 0},
        {"policy": "mru"},
        {"policy": None},
        {"ttl": 0},
        {"ttl": -1.0},
        {"ttl": float("nan")},
        {"ttl": "60"},
    ],
    ids=str,
)
def test_what_is_not_valid_is_one_config_error(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        MemoryCache(**given)
    assert caught.value.key == "cache"


def test_an_unknown_policy_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sieve'"):
        MemoryCache(policy="seive")  # type: ignore[arg-type]


# -- many at once, in any order ----------------------------------------------------------------------


@policies
def test_eight_threads_leave_it_whole(policy: Any) -> None:
    cache = MemoryCache(50, 2_000, policy=policy, ttl=0.01)
    errors: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for n in range(600):
                key = f"k{(n * 7 + seed * 13) % 90}"
                cache.get(key)
                cache.set(key, key.encode() * (1 + n % 9))
                if n % 5 == 0:
                    cache.delete(f"k{n % 90}")
                if n % 50 == 0:
                    cache.clear("k1*")
                got = cache.get(key)
                assert got is None or got.startswith(key.encode())
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stats = cache.stats()
    assert stats.entries == len(cache._entries) <= 50
    assert stats.bytes == sum(len(e.value) for e in cache._entries.values()) <= 2_000


operations = st.lists(
    st.tuples(
        st.sampled_from(["set", "get", "delete", "expire", "wait", "clear"]),
        st.sampled_from("abcdefgh"),
        st.integers(1, 9),
    ),
    max_size=120,
)


@policies
@given(operations)
def test_it_agrees_with_a_dict_on_whatever_it_still_holds(
    policy: Any, steps: list[tuple[str, str, int]]
) -> None:
    """Whatever has left, what is there is right, and the bounds hold."""
    timed = Timed(4, 30, policy=policy)
    cache, model, lives = timed.cache, dict[str, bytes](), dict[str, float]()
    counted: Counter[str] = Counter()
    for act, key, n in steps:
        now = timed.clock.now()
        alive = key in model and lives[key] > now
        match act:
            case "set":
                cache.set(key, bytes(n), float(n))
                model[key], lives[key] = bytes(n), now + n
                assert cache.get(key) == bytes(n)
                counted["sets"] += 1
                counted["hits"] += 1
            case "get":
                got = cache.get(key)
                assert got is None or (alive and got == model[key])
                counted["misses" if got is None else "hits"] += 1
            case "delete":
                was = cache.exists(key)
                assert cache.delete(key) is was
                model.pop(key, None)
            case "expire":
                if cache.expire(key, float(n)):
                    assert alive
                    lives[key] = now + n
            case "wait":
                timed.clock.advance(n / 2)
            case "clear":
                cache.clear(key)
                assert not cache.exists(key)
        stats = cache.stats()
        assert stats.entries <= 4
        assert stats.bytes == sum(len(e.value) for e in cache._entries.values()) <= 30
        assert (stats.sets, stats.hits, stats.misses) == (
            counted["sets"],
            counted["hits"],
            counted["misses"],
        )


# -- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_are_held_whatever_the_sizes(policy: Any) -> None:
    cache, rng, most = MemoryCache(None, 1_000_000, policy, seed=1), Random(7), 0
    for number in range(5_000):
        cache.set(str(rng.randrange(3_000)), bytes(int(rng.paretovariate(1.2) * 200) % 50_000))
        cache.get(str(rng.randrange(3_000)))
        most = max(most, cache.stats().bytes)
        if number > 4_000:
            assert cache.stats().bytes >= 900_000
    assert most <= 1_000_000
    assert cache.stats().bytes == sum(len(entry.value) for entry in cache._entries.values())


@pytest.mark.parametrize(("policy", "writes"), [("sieve", 1_000_000), *((p, 50_000) for p in POLICIES)])
def test_however_much_is_written_nothing_is_left_behind(policy: Any, writes: int) -> None:
    cache = MemoryCache(1_000, policy=policy, ttl=3600.0)
    numbers = count()

    def write(times: int) -> None:
        for _, number in zip(range(times), numbers, strict=False):
            cache.set(str(number if number % 2 else number % 500), b"v")  # new ones, and some again

    write(20_000)
    gc.collect()
    before = sys.getallocatedblocks()
    write(writes)
    gc.collect()
    assert sys.getallocatedblocks() - before < 10_000  # ten for each entry that is kept
    assert len(cache) == 1_000


def test_a_weak_cache_gives_way_when_memory_is_short() -> None:
    clock, short = FakeClock(0.0), [False]
    looks: list[float] = []

    def is_short() -> bool:
        looks.append(clock.now())
        return short[0]

    cache = MemoryCache(policy="fifo", weak=is_short, clock=clock.now)
    for number in range(100):
        cache.set(str(number), b"v")
    assert looks == [0.0]
    clock.advance(1.0)
    short[0] = True
    cache.set("100", b"v")
    assert (len(cache), cache.stats().evictions) == (76, 25)
    assert not cache.exists("24")
    assert cache.exists("25")
    cache.set("101", b"v")
    assert len(cache) == 77  # it looks once a second
    cache.clear()
    clock.advance(1.0)
    cache.set("alone", b"v")
    assert cache.exists("alone")


def test_whether_memory_is_short_is_read_off_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, group = tmp_path / "meminfo", tmp_path / "group"
    group.mkdir()
    names = ("memory.current", "memory.max", "inactive_file")
    monkeypatch.setattr(pressure, "_MACHINE", machine)
    monkeypatch.setattr(pressure, "_GROUPS", ((group, *names),))
    assert not memory_is_short()  # nobody says
    machine.write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  101 kB\n")
    assert not memory_is_short()
    machine.write_text("MemTotal:  1000 kB\nMemAvailable:  99 kB\n")
    assert memory_is_short()
    machine.write_text("MemTotal:  1000 kB\nMemAvailable:  900 kB\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 50\n")
    (group / "memory.current").write_text("960\n")
    (group / "memory.max").write_text("max\n")
    assert not memory_is_short()
    (group / "memory.max").write_text("1000\n")
    assert memory_is_short()
    (group / "memory.current").write_text("940\n")
    assert not memory_is_short()
    machine.write_text("nonsense")
    assert not memory_is_short()


def test_the_machine_this_runs_on_can_be_asked() -> None:
    assert memory_is_short() in (True, False)
    MemoryCache(weak=True).set("k", b"v")
    with pytest.raises(ConfigError, match="weak"):
        MemoryCache(weak="yes")  # type: ignore[arg-type]
