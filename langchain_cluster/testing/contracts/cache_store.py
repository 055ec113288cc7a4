"""What a cache store must do, blocking and awaited alike.

    class TestMyStore(CacheStoreContract):
        @pytest.fixture
        def store(self):
            store = MyStore(...)
            yield store
            store.close()

A store that stands on a clock of its own also says how its time passes (`pass_time`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_cluster.errors import ConfigError
from langchain_cluster.ports import CacheStore

MB = 1 << 20
AWKWARD_KEYS = (
    "", " ", "a b", "line\nbreak\r\n", "nul\0", "*", "?", "[a-z]", "[!a]", "back\\slash", "{tag}", "}{", "%s",
    "ключ", "键", "🗝", "lone \ud800 surrogate", "lc:{0123456789ab}:" + "f" * 64,
)  # fmt: skip
AWKWARD_VALUES = (b"", b"\0", b"\r\n", bytes(range(256)), b"$-1\r\n", b"\x80\x04\x95", b"0")
NO_TIMES = (0, -1, 0.0, -0.5, float("nan"), float("inf"), "60", True)


class Asked:
    """A store's operations in one colour: `asked.get(key)` is `get`, or `aget` awaited."""

    def __init__(self, store: Any, runner: asyncio.Runner | None) -> None:
        self._store, self._runner = store, runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        runner = self._runner
        if runner is None:
            return getattr(self._store, name)  # type: ignore[no-any-return]
        twin = getattr(self._store, f"a{name}")
        return lambda *given, **named: runner.run(twin(*given, **named))


class CacheStoreContract:
    """Inherit it and give it a fixture `store`: an empty store that keeps a few megabytes."""

    short = 0.05  # seconds: a time to live the tests wait for

    def pass_time(self, store: CacheStore, seconds: float) -> None:
        """Let the store's time pass."""
        time.sleep(seconds)

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        """One event loop for a test's awaited operations."""
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture(params=["blocking", "awaited"])
    def asked(self, request: pytest.FixtureRequest, store: CacheStore) -> Iterator[Asked]:
        """The store's operations, in one colour and then in the other."""
        if request.param == "blocking":
            yield Asked(store, None)
            return
        asked = Asked(store, request.getfixturevalue("runner"))
        yield asked
        asked.close()

    # -- one key ------------------------------------------------------------------------------------

    def test_what_was_set_is_got_until_it_is_deleted(self, asked: Asked) -> None:
        assert asked.get("k") is None
        assert asked.set("k", b"v") is None
        assert asked.get("k") == b"v"
        asked.set("k", b"w")
        assert asked.get("k") == b"w"
        assert asked.delete("k") is True
        assert asked.delete("k") is False
        assert asked.get("k") is None

    def test_a_value_comes_back_as_bytes(self, asked: Asked) -> None:
        asked.set("k", b"v")
        assert type(asked.get("k")) is bytes
        assert [type(value) for value in asked.mget(["k"])] == [bytes]

    def test_exists_tells_whether_there_is_a_value(self, asked: Asked) -> None:
        assert asked.exists("k") is False
        asked.set("k", b"")
        assert asked.exists("k") is True

    @pytest.mark.parametrize("key", AWKWARD_KEYS, ids=ascii)
    def test_any_text_is_a_key_and_only_its_own(self, asked: Asked, key: str) -> None:
        asked.set("other", b"other")
        asked.set(key, b"v")
        assert asked.get(key) == b"v"
        assert asked.mget([key, "other"]) == [b"v", b"other"]
        assert asked.exists(key)
        assert asked.delete(key)
        assert not asked.exists(key)
        assert asked.get("other") == b"other"

    def test_awkward_keys_are_not_one_another(self, asked: Asked) -> None:
        items = {key: key.encode("utf-8", "surrogatepass") for key in AWKWARD_KEYS}
        asked.mset(items)
        assert asked.mget(list(items)) == list(items.values())

    @pytest.mark.parametrize("value", AWKWARD_VALUES, ids=ascii)
    def test_any_bytes_are_a_value(self, asked: Asked, value: bytes) -> None:
        asked.set("k", value)
        assert asked.get("k") == value

    def test_a_key_and_a_value_may_be_a_megabyte(self, asked: Asked) -> None:
        key, value = "k" * MB, bytes(MB)
        asked.set(key, value)
        assert asked.get(key) == value
        assert asked.get(key[:-1]) is None
        assert asked.delete(key)

    # -- many keys ----------------------------------------------------------------------------------

    def test_many_are_got_in_the_order_of_their_keys(self, asked: Asked) -> None:
        asked.mset({"a": b"1", "b": b"2", "c": b"3"})
        assert asked.mget(["c", "x", "a", "a"]) == [b"3", None, b"1", b"1"]
        assert asked.mdelete(["a", "x", "c"]) == 2
        assert asked.mget(["a", "b", "c"]) == [None, b"2", None]

    def test_none_at_all_are_many_too(self, asked: Asked) -> None:
        asked.mset({})
        assert asked.mget([]) == []
        assert asked.mdelete([]) == 0

    def test_a_thousand_keys_at_once(self, asked: Asked) -> None:
        items = {f"k{n}": str(n).encode() for n in range(1000)}
        asked.mset(items)
        assert asked.mget(list(items)) == list(items.values())
        assert asked.mdelete(list(items)) == 1000

    # -- time to live -------------------------------------------------------------------------------

    def test_an_entry_lives_for_its_time_and_no_longer(self, asked: Asked, store: CacheStore) -> None:
        asked.set("short", b"v", ttl=self.short)
        asked.set("long", b"v", ttl=3600.0)
        asked.set("for ever", b"v")
        assert asked.get("short") == b"v"
        self.pass_time(store, 2 * self.short)
        assert asked.mget(["short", "long", "for ever"]) == [None, b"v", b"v"]
        assert asked.exists("short") is False
        assert asked.delete("short") is False
        assert asked.expire("short", 3600.0) is False

    def test_many_set_at_once_live_for_their_time(self, asked: Asked, store: CacheStore) -> None:
        asked.mset({"a": b"1", "b": b"2"}, ttl=self.short)
        assert asked.mget(["a", "b"]) == [b"1", b"2"]
        self.pass_time(store, 2 * self.short)
        assert asked.mget(["a", "b"]) == [None, None]

    def test_a_time_to_live_can_be_changed(self, asked: Asked, store: CacheStore) -> None:
        assert asked.expire("k", 3600.0) is False
        asked.set("k", b"v", ttl=3600.0)
        asked.set("l", b"v", ttl=self.short)
        assert asked.expire("k", self.short) is True
        assert asked.expire("l", 3600.0) is True
        self.pass_time(store, 2 * self.short)
        assert asked.mget(["k", "l"]) == [None, b"v"]

    def test_setting_again_sets_the_time_to_live_again(self, asked: Asked, store: CacheStore) -> None:
        asked.set("k", b"v", ttl=self.short)
        asked.set("k", b"w")
        self.pass_time(store, 2 * self.short)
        assert asked.get("k") == b"w"

    @pytest.mark.parametrize("ttl", NO_TIMES, ids=repr)
    def test_what_is_no_time_to_live_is_one_clear_error(self, asked: Asked, ttl: Any) -> None:
        asked.set("k", b"v")
        with pytest.raises(ConfigError, match="number of seconds > 0"):
            asked.set("k", b"w", ttl=ttl)
        with pytest.raises(ConfigError, match="number of seconds > 0"):
            asked.mset({"k": b"w"}, ttl=ttl)
        with pytest.raises(ConfigError, match="number of seconds > 0"):
            asked.expire("k", ttl)
        assert asked.get("k") == b"v"

    # -- clear --------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("pattern", "keys"),
        [
            ("*", "ab a/b axb aXb a*b a?b a[b é éé a\nb x\\y"),
            ("a*b", "ab a/b axb aXb a*b a?b a[b a\nb"),
            ("a?b", "a/b axb aXb a*b a?b a[b a\nb"),
            ("a[x/]b", "a/b axb"),
            ("a[!x/]b", "aXb a*b a?b a[b a\nb"),
            ("a[w-z]b", "axb"),
            ("a[*]b", "a*b"),
            ("a[?]b", "a?b"),
            ("a[[]b", "a[b"),
            ("a[b", "a[b"),
            ("é", "é"),
            ("?", "é"),
            ("??", "ab éé"),
            ("x\\y", "x\\y"),
            ("x\\*", "x\\y"),
            ("a\\b", ""),
            ("ab", "ab"),
            ("*b", "ab a/b axb aXb a*b a?b a[b a\nb"),
            ("**", "ab a/b axb aXb a*b a?b a[b é éé a\nb x\\y"),
            ("A*", ""),
            ("", ""),
        ],
    )
    def test_clearing_goes_by_one_kind_of_glob(self, asked: Asked, pattern: str, keys: str) -> None:
        every = ["ab", "a/b", "axb", "aXb", "a*b", "a?b", "a[b", "é", "éé", "a\nb", "x\\y"]
        meant = keys.split(" ") if keys else []
        asked.mset(dict.fromkeys(every, b"v"))
        assert asked.clear(pattern) == len(meant)
        assert [key for key in every if not asked.exists(key)] == [key for key in every if key in meant]

    def test_clearing_everything_leaves_nothing(self, asked: Asked, store: Any) -> None:
        asked.mset({f"{n}": b"v" for n in range(2_500)})
        assert asked.clear() == 2_500
        assert asked.clear() == 0
        assert asked.mget(["0", "1", "2499"]) == [None, None, None]
        assert store.stats().entries == 0

    # -- counts, and the end ------------------------------------------------------------------------

    def test_lookups_and_writes_are_counted(self, asked: Asked, store: Any) -> None:
        asked.set("a", b"123")
        asked.mset({"b": b"45", "c": b""})
        asked.get("a")
        asked.mget(["b", "x"])
        asked.exists("a")  # no lookup
        stats = store.stats()
        assert (stats.hits, stats.misses, stats.sets) == (2, 1, 3)
        assert (stats.entries, stats.bytes) == (3, 5)
        assert stats.hit_ratio == pytest.approx(2 / 3)
        assert (stats.evictions, stats.expired, stats.errors) == (0, 0, 0)

    def test_it_has_a_name(self, store: CacheStore) -> None:
        assert isinstance(store.name, str)
        assert store.name

    def test_a_store_that_was_closed_opens_again(self, asked: Asked) -> None:
        asked.set("k", b"v")
        asked.close()
        asked.close()
        asked.set("k", b"w")
        assert asked.get("k") == b"w"

    def test_both_colours_see_the_same_entries(self, store: CacheStore, runner: asyncio.Runner) -> None:
        blocking, awaited = Asked(store, None), Asked(store, runner)
        blocking.set("a", b"1")
        awaited.set("b", b"2")
        assert awaited.mget(["a", "b"]) == blocking.mget(["a", "b"]) == [b"1", b"2"]
        awaited.delete("a")
        assert blocking.get("a") is None
        awaited.close()

    def test_it_serves_one_event_loop_after_another(self, store: CacheStore) -> None:
        for n in range(3):
            with asyncio.Runner() as runner:
                asked = Asked(store, runner)
                asked.set(f"k{n}", b"v")
                assert asked.mget([f"k{m}" for m in range(n + 1)]) == [b"v"] * (n + 1)
                if n != 1:  # a loop may also end without a word
                    asked.close()

    def test_threads_and_tasks_at_once_leave_it_whole(self, store: Any, runner: asyncio.Runner) -> None:
        def by_thread(seed: int) -> None:
            for n in range(50):
                key = f"k{(n * 7 + seed) % 20}"
                store.set(key, key.encode())
                assert store.get(key) == key.encode()

        async def by_task(seed: int) -> None:
            for n in range(50):
                key = f"k{(n * 7 + seed) % 20}"
                await store.aset(key, key.encode())
                assert await store.aget(key) == key.encode()

        async def by_tasks() -> None:
            await asyncio.gather(*(by_task(seed) for seed in range(8)))

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(by_thread, seed) for seed in range(4)]
            runner.run(by_tasks())
            for one in running:
                one.result()
        runner.run(store.aclose())  # not before: closing what another thread uses is an outage to it
        assert store.stats().entries == 20

    def test_closing_gives_the_loops_resources_back(self, store: CacheStore, runner: asyncio.Runner) -> None:
        async def use() -> int:
            await store.aset("k", b"v")
            await store.aclose()
            return len(asyncio.all_tasks())

        assert runner.run(use()) == 1
