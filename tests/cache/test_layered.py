"""Several stores as one: back-fill, lifetimes, the two ways to write, and layers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event, Thread
from threading import enumerate as threads
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.cache.absent import MOST, Absent
from langchain_cluster.cache.backlog import Backlog
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.events import CacheFailed
from langchain_cluster.plan.effects import Found
from langchain_cluster.testing import FakeClock, ScriptedModel


class Named(MemoryCache):
    """A farther layer, on the test's clock; fails and waits when told to."""

    def __init__(self, name: str, clock: FakeClock, ttl: float | None = None) -> None:
        super().__init__(clock=clock.now, ttl=ttl, seed=1)
        self.name = name
        self.broken = False
        self.gate: Event | None = None

    def _touch(self) -> None:
        if self.gate is not None:
            self.gate.wait(10.0)
        if self.broken:
            raise ConnectionError(f"{self.name} is away")

    def get(self, key: str) -> Any:
        self._touch()
        return super().get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self._touch()
        super().set(key, value, ttl)

    def exists(self, key: str) -> bool:
        self._touch()
        return super().exists(key)

    def delete(self, key: str) -> bool:
        self._touch()
        return super().delete(key)


class World:
    """Two layers and their time."""

    def __init__(self, write: Any = "through", *, near_ttl: float | None = None, **options: Any) -> None:
        self.clock = FakeClock(0.0)
        self.near, self.far = Named("near", self.clock, near_ttl), Named("far", self.clock)
        self.cache = LayeredCache([self.near, self.far], write, clock=self.clock.now, **options)

    def left(self, layer: MemoryCache, key: str) -> float | None:
        (entry,) = layer.entries([key])
        return None if entry is None else entry[1]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.cache.close()


def test_what_a_far_layer_holds_is_put_into_the_near_one_for_the_time_it_has_left(world: World) -> None:
    world.far.set("k", b"v", ttl=10.0)
    world.clock.advance(4.0)
    assert world.cache.find(["k"]) == Found(b"v", "far")
    assert world.left(world.near, "k") == pytest.approx(6.0)
    assert world.cache.find(["k"]) == Found(b"v", "near")
    world.clock.advance(6.0)
    assert world.cache.find(["k"]) is None


def test_many_are_put_into_the_near_layer_for_the_time_each_has_left(world: World) -> None:
    world.far.set("a", b"1", ttl=10.0)
    world.far.set("b", b"2")
    world.near.set("c", b"3")
    assert world.cache.find_each(["a", "c", "x", "b"]) == [
        Found(b"1", "far"), Found(b"3", "near"), None, Found(b"2", "far"),
    ]  # fmt: skip
    assert world.left(world.near, "a") == pytest.approx(10.0)
    assert world.left(world.near, "b") is None
    assert world.near.exists("b")


def test_each_layers_own_time_bounds_what_it_keeps() -> None:
    world = World(near_ttl=5.0)
    world.cache.set("k", b"v", ttl=60.0)
    assert world.left(world.near, "k") == pytest.approx(5.0)
    assert world.left(world.far, "k") == pytest.approx(60.0)
    world.clock.advance(5.0)
    assert world.cache.find(["k"]) == Found(b"v", "far")
    assert world.left(world.near, "k") == pytest.approx(5.0)  # not the 55 seconds it has left there
    world.clock.advance(52.0)
    assert world.cache.find(["k"]) == Found(b"v", "far")
    assert world.left(world.near, "k") == pytest.approx(3.0)


def test_one_of_several_keys_in_the_near_layer_is_enough(world: World) -> None:
    world.near.set("b", b"near")
    world.far.set("a", b"far")
    assert world.cache.find(["a", "b"]) == Found(b"near", "near")
    assert world.far.stats().misses + world.far.stats().hits == 0


# -- layers that fail ----------------------------------------------------------------------------------


def test_a_layer_that_fails_is_passed_over_and_counted(world: World) -> None:
    world.near.broken = True
    assert world.cache.put("k", b"v") == ("ConnectionError",)
    assert world.cache.find(["k"]) == Found(b"v", "far", ("ConnectionError",))
    assert world.cache.get("k") == b"v"
    assert world.cache.exists("k")
    assert world.cache.stats().errors >= 4  # one write, two looks, as many fillings, one question
    world.near.broken, world.far.broken = False, True
    assert world.cache.find(["other"]) == Found(None, "miss", ("ConnectionError",))
    world.cache.set("other", b"w")
    assert world.cache.get("other") == b"w"


def test_when_no_layer_can_be_written_that_is_an_error(world: World) -> None:
    world.near.broken = world.far.broken = True
    with pytest.raises(ConnectionError):
        world.cache.set("k", b"v")
    assert world.cache.get("k") is None


def test_to_take_something_back_is_not_half_done_in_silence(world: World) -> None:
    world.cache.set("k", b"v")
    world.far.broken = True
    with pytest.raises(ConnectionError, match="far"):
        world.cache.delete("k")
    assert not world.near.exists("k")


@pytest.mark.parametrize("awaited", [False, True])
def test_a_call_tells_which_layer_answered_and_which_one_failed(awaited: bool) -> None:
    world = World()
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one", "two"))], cache=world.cache)
    failures: list[tuple[str, str]] = []

    def hear(event: Any) -> None:
        if isinstance(event, CacheFailed):
            failures.append((event.operation, event.error))

    llm.cluster.events.subscribe(hear)

    def source(text: str) -> Any:
        message = asyncio.run(llm.ainvoke(text)) if awaited else llm.invoke(text)
        return message.response_metadata["cluster"]["cache"]

    assert [source("hello"), source("hello")] == ["miss", "near"]
    world.near.clear()
    assert [source("hello"), source("hello")] == ["far", "near"]
    assert failures == []
    world.far.broken = True
    assert [source("hi"), source("hi")] == ["miss", "near"]
    assert failures == [("lookup", "ConnectionError"), ("store", "ConnectionError")]
    llm.cluster.close()


# -- written later -------------------------------------------------------------------------------------


def test_a_write_back_returns_before_the_far_layer_is_written_and_closing_waits_for_it() -> None:
    world = World("back")
    world.far.gate = Event()
    world.cache.set("k", b"v")
    world.cache.set("k", b"w")
    assert world.near.get("k") == b"w"
    world.far.gate.set()
    world.cache.close()
    assert world.far.get("k") == b"w"
    assert world.cache.stats().lost == 0


def test_what_waits_to_be_written_is_found_though_the_near_layer_has_let_it_go() -> None:
    world = World("back")
    world.far.gate = Event()
    world.cache.set("first", b"1")  # keeps the thread busy
    world.cache.set("k", b"v", ttl=10.0)
    world.near.clear()
    assert world.cache.find(["k"]) == Found(b"v", "near")
    assert world.cache.exists("k")
    world.clock.advance(10.0)
    world.far.gate.set()
    world.cache.close()
    assert not world.far.exists("k")  # nor does it live the longer for having waited


def test_a_full_backlog_drops_the_oldest_and_says_so() -> None:
    world = World("back", max_pending=3)
    world.far.gate = Event()
    world.cache.set("under way", b"")
    while len(world.cache._backlog):
        pass
    for n in range(5):
        world.cache.set(f"k{n}", b"v")
    assert repr(world.cache).startswith("<LayeredCache write-back, 3 writes waiting: ")
    world.far.gate.set()
    world.cache.close()
    assert [world.far.exists(f"k{n}") for n in range(5)] == [False, False, True, True, True]
    assert world.cache.stats().lost == 2


def test_a_write_that_fails_later_is_a_lost_one() -> None:
    world = World("back")
    world.far.broken = True
    world.cache.set("k", b"v")
    world.cache.close()
    assert (world.cache.stats().lost, world.cache.stats().errors) == (1, 1)
    world.far.broken = False
    world.cache.set("l", b"v")  # and it goes on after a close
    world.cache.close()
    assert world.far.exists("l")


@pytest.mark.parametrize("awaited", [False, True])
def test_what_was_deleted_is_not_written_later(awaited: bool) -> None:
    world = World("back")
    world.far.gate = Event()
    for key in ("a", "b", "c"):
        world.cache.set(key, b"v")
    world.far.gate.set()
    if awaited:
        asyncio.run(world.cache.adelete("a"))
        asyncio.run(world.cache.aclear("[bc]"))
    else:
        world.cache.delete("a")
        world.cache.clear("[bc]")
    world.cache.close()
    assert len(world.far) == 0


@pytest.mark.parametrize("waits", ["expire", "remove a tag", "delete", "clear"])
def test_who_waits_for_the_writes_does_not_wait_for_those_that_come_meanwhile(waits: str) -> None:
    world = World("back")
    busy = Event()
    real = world.far.set

    def set_and_go_on(key: str, value: bytes, ttl: float | None = None) -> None:
        real(key, value, ttl)
        if not busy.is_set():
            world.cache.set(str(int(key) + 1), b"")  # there is always one more that waits

    world.far.set = set_and_go_on  # type: ignore[method-assign]
    world.cache.set("0", b"")
    does: dict[str, Any] = {
        "expire": lambda: world.cache.expire("0", 9.0),
        "remove a tag": lambda: world.cache.invalidate(tag="x"),
        "delete": lambda: world.cache.delete("0"),
        "clear": lambda: world.cache.clear("0"),
    }
    asks = Thread(target=does[waits], daemon=True)
    asks.start()
    asks.join(60.0)
    waiting = asks.is_alive()
    busy.set()
    assert not waiting
    world.cache.close()
    assert not [one for one in threads() if one.name == "langchain-cluster-cache-writes"]


def test_no_thread_is_started_by_writing_through(world: World) -> None:
    world.cache.set("k", b"v")
    assert world.cache._backlog._thread is None


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"layers": []}, "cache.layers"),
        ({"layers": [{}]}, "cache.layers"),
        ({"layers": [MemoryCache]}, "cache.layers"),
        ({"layers": MemoryCache()}, "cache.layers"),
        ({"layers": [MemoryCache()], "fallback_ttl": 0}, "cache"),
        ({"layers": [MemoryCache()], "write": "around"}, "cache.write"),
        ({"layers": [MemoryCache()], "max_pending": 0}, "cache.max_pending"),
    ],
)
def test_what_is_not_valid_is_one_config_error(given: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LayeredCache(**given)
    assert caught.value.key == key


def test_a_dead_redis_behind_a_memory_is_not_noticed_but_in_the_counts() -> None:
    pytest.importorskip("redis")
    cache = LayeredCache([MemoryCache(), RedisCache.from_url("redis://127.0.0.1:1")])
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one"))], cache=cache)
    sources = [llm.invoke("hello").response_metadata["cluster"]["cache"] for _ in range(3)]
    assert sources == ["miss", "memory", "memory"]
    assert cache.stats().errors >= 2
    llm.cluster.close()


# -- a remembered miss -------------------------------------------------------------------------------


def test_a_miss_is_remembered_for_a_while_and_the_far_layer_is_left_alone() -> None:
    world = World(negative_ttl=2.0)
    assert world.cache.find(["k"]) is None
    assert world.far.stats().misses == 1
    assert world.cache.find(["k"]) is None
    assert world.cache.find(["k", "other"]) is None  # of which only one is known to be absent
    assert world.far.stats().misses == 2
    world.far.set("k", b"v")  # behind our back
    assert world.cache.get("k") is None
    world.clock.advance(2.0)
    assert world.cache.get("k") == b"v"


def test_a_write_ends_a_remembered_miss() -> None:
    world = World(negative_ttl=60.0)
    assert world.cache.get("k") is None
    world.cache.set("k", b"v")
    world.near.clear()
    assert world.cache.get("k") == b"v"
    assert world.cache.mget(["a", "b"]) == [None, None]
    world.cache.mset({"a": b"1", "b": b"2"})
    world.near.clear()
    assert world.cache.mget(["a", "b"]) == [b"1", b"2"]


def test_what_could_not_be_asked_is_not_known_to_be_absent() -> None:
    world = World(negative_ttl=60.0)
    world.far.broken = True
    assert world.cache.get("k") is None
    world.far.broken = False
    world.far.set("k", b"v")
    assert world.cache.get("k") == b"v"


def test_what_one_key_is_found_under_says_nothing_of_the_others() -> None:
    world = World(negative_ttl=60.0)
    world.near.set("a", b"1")
    assert world.cache.find(["a", "b"]) == Found(b"1", "near")
    world.far.set("b", b"2")
    assert world.cache.get("b") == b"2"


def test_remembered_misses_are_few() -> None:
    clock = FakeClock(0.0)
    absent = Absent(10.0, clock.now)
    absent.add(str(n) for n in range(MOST - 1))
    clock.advance(5.0)
    absent.add(["young", "too"])
    clock.advance(5.0)
    absent.add(["new"])
    assert absent.knows("young")
    assert not absent.knows("1")
    assert len(absent._until) == 3
    absent.add(str(n) for n in range(MOST))
    absent.add(["all are young: all are forgotten"])
    assert len(absent._until) == 1
    assert absent.clear() == 1


@pytest.mark.parametrize("seconds", [0, -1.0, "2", float("inf")])
def test_a_miss_is_remembered_for_some_seconds(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="negative_ttl"):
        LayeredCache([MemoryCache()], negative_ttl=seconds)


# -- what is to be done after the writes -----------------------------------------------------------------


def test_what_is_to_come_after_the_writes_comes_after_them_or_when_they_are_dropped() -> None:
    gate, begun, done = Event(), Event(), []

    def write(key: str, value: bytes, ttl: float | None) -> None:
        begun.set()
        gate.wait(60.0)
        done.append(key)

    backlog = Backlog(write, 10, lambda: 0.0)
    backlog.then(lambda: done.append("at once"))
    assert done == ["at once"]
    backlog.add("a", b"", None)
    backlog.add("b", b"", None)
    assert begun.wait(60.0)
    backlog.then(lambda: done.append("after"))
    gate.set()
    backlog.close()
    assert done == ["at once", "a", "b", "after"]
    backlog._count += 1
    backlog._waiting["e"] = (b"", 1.0, backlog._count)  # as if its thread had not got to it yet
    backlog.then(lambda: done.append("dropped"))
    backlog.forget(["e"])
    assert done[4:] == ["dropped"]
