"""Two processes' layers over one server, as two caches: what one writes the other does not serve for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from threading import enumerate as threads
from typing import Any

import pytest

from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.cache.listening import Listening
from langchain_cluster.testing import FakeClock
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(binary() is None, reason=INSTALL)


@pytest.fixture
def server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


def until(holds: Callable[[], Any], within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


class Process:
    """A near layer, on a clock of the test's own, over the server."""

    def __init__(self, server: Valkey, **options: Any) -> None:
        self.clock = FakeClock(0.0)
        self.near = MemoryCache(clock=self.clock.now)
        self.far = RedisCache.from_url(server.url, "p:")
        self.cache = LayeredCache([self.near, self.far], **options)
        self.coherence: Any = self.cache._coherence

    def left(self) -> Any:
        """Seconds the near layer keeps `k`."""
        (entry,) = self.near.entries(["k"])
        return None if entry is None else entry[1]

    def listening(self) -> Process:
        self.cache.get("begin")
        assert until(lambda: self.coherence.listening)
        return self


@pytest.fixture
def pair(server: Valkey) -> Iterator[tuple[Process, Process]]:
    a, b = Process(server).listening(), Process(server).listening()
    yield a, b
    a.cache.close()
    b.cache.close()


def test_what_one_writes_another_sees(pair: tuple[Process, Process]) -> None:
    a, b = pair
    for number in range(20):
        new = str(number).encode()
        a.cache.set("k", new)
        assert until(partial(_has_near, b, new))


def _has_near(process: Process, value: bytes) -> bool:
    # Told of a write after it has read what was written, it lets that go once more: harmless, so not at once.
    return process.cache.get("k") == value and process.near.exists("k")


def test_what_one_deletes_or_clears_another_lets_go(pair: tuple[Process, Process]) -> None:
    a, b = pair
    for operation, given in (("delete", "k"), ("clear", "k*")):
        a.cache.set("k", b"v")
        assert until(lambda: b.cache.get("k") == b"v")
        getattr(a.cache, operation)(given)
        assert until(lambda: b.cache.get("k") is None)
        assert not a.near.exists("k")


def test_emptying_the_server_empties_the_near_layers(server: Valkey, pair: tuple[Process, Process]) -> None:
    a, b = pair
    a.cache.set("k", b"v")
    b.cache.get("k")
    with redis.Redis("127.0.0.1", server.port) as client:
        client.flushall()
    assert until(lambda: len(a.near) == len(b.near) == 0)


def test_a_write_of_our_own_stays_near(pair: tuple[Process, Process]) -> None:
    a, b = pair
    for number in range(50):
        a.cache.set(f"k{number}", b"v")
    b.cache.set("other", b"v")
    assert until(lambda: a.cache.get("other") == b"v")  # told of after all of those
    assert all(a.near.exists(f"k{number}") for number in range(50))


def test_a_value_that_changed_while_it_was_read_does_not_settle(pair: tuple[Process, Process]) -> None:
    a, b = pair
    b.far.set("k", b"old")
    entries = a.far.entries

    def slowly(keys: Any) -> Any:
        found = entries(keys)
        b.far.set("k", b"new")
        assert until(lambda: "k" not in a.coherence._notes)  # it was told
        return found

    a.far.entries = slowly  # type: ignore[method-assign]
    assert a.cache.get("k") == b"old"
    assert not a.near.exists("k")
    a.far.entries = entries  # type: ignore[method-assign]
    assert a.cache.get("k") == b"new"


def test_a_value_that_another_overwrote_while_it_was_written_does_not_settle(
    pair: tuple[Process, Process],
) -> None:
    a, b = pair
    write = a.far.set

    def slowly(*given: Any) -> None:
        write(*given)
        b.far.set("k", b"theirs")
        assert until(lambda: "k" not in a.coherence._notes)

    a.far.set = slowly  # type: ignore[method-assign, assignment]
    a.cache.set("k", b"ours")
    assert not a.near.exists("k")
    assert a.cache.get("k") == b"theirs"


# -- when nobody listens -------------------------------------------------------------------------------


def test_a_lost_line_empties_the_near_layer_and_shortens_what_it_keeps(server: Valkey) -> None:
    a = Process(server, fallback_ttl=3.0).listening()
    a.cache.set("k", b"v", ttl=60.0)
    assert a.left() == pytest.approx(60.0)
    server.kill()
    assert until(lambda: not a.coherence.listening)
    assert len(a.near) == 0
    a.cache.set("k", b"w", ttl=60.0)
    assert a.left() == pytest.approx(3.0)
    a.clock.advance(3.0)
    assert a.cache.get("k") is None
    server.start()
    assert until(lambda: a.coherence.listening)
    # Once its circuit has closed again.
    assert until(lambda: a.cache.put("k", b"x") == () and a.near.entries(["k"]) == [(b"x", None)])
    a.cache.close()


def test_a_server_that_only_hangs_is_noticed_too(server: Valkey) -> None:
    a = Process(server).listening()
    a.cache.set("k", b"v")
    server.pause()
    assert until(lambda: not a.coherence.listening)
    assert until(lambda: len(a.near) == 0)
    server.resume()
    assert until(lambda: a.coherence.listening)
    a.cache.close()


def test_whoever_may_not_listen_keeps_entries_for_a_short_time(server: Valkey) -> None:
    with redis.Redis("127.0.0.1", server.port) as client:
        client.acl_setuser(
            "ann", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-client|tracking"]
        )
    clock = FakeClock(0.0)
    near = MemoryCache(clock=clock.now)
    cache = LayeredCache([near, RedisCache.from_url(server.url.replace("//", "//ann:x@"))], fallback_ttl=2.0)
    cache.set("k", b"v")
    clock.advance(1.9)
    assert near.exists("k")
    clock.advance(0.1)
    assert not near.exists("k")
    assert cache.get("k") == b"v"  # from the server
    cache.close()


def listeners() -> list[str]:
    return [one.name for one in threads() if one.name == "langchain-cluster-cache-changes"]


def test_the_thread_begins_with_the_first_use_and_ends_with_close(server: Valkey) -> None:
    before = len(listeners())
    a = Process(server)
    assert len(listeners()) == before
    a.listening()
    a.cache.set("k", b"v")
    assert len(listeners()) == before + 1
    a.cache.close()
    assert len(listeners()) == before
    assert len(a.near) == 0  # nobody would tell it of changes
    assert a.listening().cache.get("k") == b"v"
    a.cache.close()


def test_a_fork_does_not_serve_what_nobody_keeps_true_there(server: Valkey) -> None:
    one = Process(server).listening()
    one.coherence._line.close()  # a fork has no threads,
    one.coherence.listening = True  # and does not know it
    one.near.set("k", b"old")
    one.far.set("k", b"new")
    one.coherence._process = -1
    assert one.cache.get("k") == b"new"
    one.cache.close()


def over_shards(server: Valkey) -> LayeredCache:
    shards = {name: RedisCache.from_url(server.url, f"{name}:") for name in "ab"}
    cache = LayeredCache([MemoryCache(), ShardedCache(shards)], fallback_ttl=0.5)
    cache.get("begin")
    assert until(lambda: cache._coherence is not None and cache._coherence.listening)
    return cache


def test_what_one_writes_into_a_shard_another_sees(server: Valkey) -> None:
    one, other = over_shards(server), over_shards(server)
    for number in range(20):
        key = f"k{number}"
        one.set(key, b"old")
        found = other.find([key])
        assert found is not None
        assert (found.raw, found.layer) == (b"old", "redis")
        one.set(key, b"new")
        assert until(lambda key=key: other.get(key) == b"new")  # type: ignore[misc]
    one.close()
    other.close()
    assert listeners() == []


def test_what_comes_from_a_shard_lives_for_the_time_it_has_left(server: Valkey) -> None:
    one, other = over_shards(server), over_shards(server)
    one.set("k", b"v", ttl=60.0)
    # The news of that write may come after the first look, and take back what it has brought near.
    assert until(lambda: other.get("k") == b"v" and other.layers[0].exists("k"))
    ((_, left),) = other.layers[0].entries(["k"])
    assert 0 < left <= 60.0
    assert asyncio.run(other.layers[1].aentries(["k", "absent"]))[1] is None
    one.close()
    other.close()


def test_a_line_to_several_stores_is_lost_with_one_of_them() -> None:
    told: list[str] = []
    ends: list[Any] = []

    class Store:
        def listen(self, *, changed: Any, ready: Any, lost: Any) -> Any:
            ends.append((ready, lost))
            return self

        def close(self) -> None:
            told.append("closed")

    lines = Listening(
        [Store(), Store()],
        changed=lambda keys: None,
        ready=lambda: told.append("ready"),
        lost=lambda: told.append("lost"),
    )
    (ready, lost), (other_ready, other_lost) = ends
    ready()
    assert told == []
    other_ready()
    lost()
    other_lost()
    assert told == ["ready", "lost"]
    ready()
    other_ready()
    lines.close()
    assert told[2:] == ["ready", "closed", "closed"]


def test_layers_that_nobody_shares_are_not_listened_to() -> None:
    cache = LayeredCache([MemoryCache(), MemoryCache()])
    cache.set("k", b"v")
    assert cache._coherence is None


def test_what_another_writes_ends_a_remembered_miss(server: Valkey) -> None:
    a, b = Process(server).listening(), Process(server, negative_ttl=3600.0).listening()
    assert b.cache.get("k") is None
    a.cache.set("k", b"v")
    assert until(lambda: b.cache.get("k") == b"v")
    a.cache.close()
    b.cache.close()


def test_a_miss_that_was_written_while_it_was_looked_for_is_not_remembered(server: Valkey) -> None:
    a, b = Process(server).listening(), Process(server, negative_ttl=3600.0).listening()
    entries = b.far.entries

    def late(keys: Any) -> Any:
        found = entries(keys)
        a.cache.set("k", b"v")
        assert until(lambda: "k" not in b.coherence._notes)  # it was told
        return found

    b.far.entries = late  # type: ignore[method-assign]
    assert b.cache.get("k") is None
    b.far.entries = entries  # type: ignore[method-assign]
    assert b.cache.get("k") == b"v"
    a.cache.close()
    b.cache.close()


def test_while_nobody_listens_a_miss_is_remembered_for_the_fallback_time(server: Valkey) -> None:
    process = Process(server, negative_ttl=3600.0, fallback_ttl=5.0)
    process.far.listen = lambda **told: type("Deaf", (), {"close": lambda self: None})()  # type: ignore[method-assign, assignment]
    process.cache._of.absent._clock = process.clock.now
    assert process.cache.get("k") is None
    process.far.set("k", b"v")
    assert process.cache.get("k") is None
    process.clock.advance(5.0)
    assert process.cache.get("k") == b"v"
    process.cache.close()
