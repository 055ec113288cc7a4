"""A cache in a real server: what it keeps to itself, and what happens when the server is away."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import pytest

from langchain_cluster.cache import RedisCache
from langchain_cluster.errors import CacheUnavailable, ConfigError
from langchain_cluster.model.policy import BreakerPolicy
from langchain_cluster.testing.server_process import HOST, free_port
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(binary() is None, reason=INSTALL)
PATIENT: Any = {"connect_timeout": 10.0, "timeout": 10.0}  # for what is about no time
QUICK = BreakerPolicy(consecutive_failures=1, open_for=0.05, max_open=0.05)


@pytest.fixture
def own() -> Iterator[Valkey]:
    """A server for one test to kill."""
    with Valkey() as server:
        yield server


# -- what lies where ---------------------------------------------------------------------------------


def test_keys_lie_under_the_prefix_and_others_are_left_alone(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "mine:", **PATIENT)
    raw.mset({"other": "1", "mine": "2", "min": "3"})
    cache.set("lc:{scope}:f00", b"v")
    assert raw.get("mine:lc:{scope}:f00") == b"v"
    assert cache.stats().entries == 1
    assert cache.clear() == 1
    assert sorted(raw.keys()) == [b"min", b"mine", b"other"]
    cache.close()


def test_a_prefix_full_of_globs_means_itself(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "[ab]*?\\:", **PATIENT)
    raw.mset({"a:k": "1", "[ab]xx\\:k": "2", "bzz\\:k": "3"})
    cache.set("k", b"v")
    assert cache.clear() == 1
    assert raw.dbsize() == 3
    cache.close()


def test_what_others_wrote_under_the_prefix_can_be_cleared(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "p:", **PATIENT)
    raw.set(b"p:\xff\xfe", "not text")
    raw.hset("p:hash", "f", "v")
    stats = cache.stats()
    assert (stats.entries, stats.errors) == (2, 0)
    with pytest.raises(CacheUnavailable, match="WRONGTYPE"):
        cache.get("hash")
    assert cache.breaker.state.value == "closed"  # the server has answered
    assert cache.clear() == 2
    cache.close()


def test_the_caches_own_time_to_live_is_spread(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "p:", 100.0, seed=1, **PATIENT)
    cache.mset({f"spread-{n}": b"" for n in range(100)})
    cache.set("exact", b"", ttl=100.0)
    lives = [raw.pttl(f"p:spread-{n}") / 1000 for n in range(100)]
    assert min(lives) >= 89.0
    assert max(lives) <= 110.0
    assert max(lives) - min(lives) > 10.0
    assert 99.0 < raw.pttl("p:exact") / 1000 <= 100.0
    cache.close()


def test_an_entry_tells_how_long_it_lives(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "p:", **PATIENT)
    cache.set("k", b"v", ttl=60.0)
    cache.set("for ever", b"w")
    (found,) = cache.entries(["k"])
    assert found is not None
    assert found[0] == b"v"
    assert found[1] == pytest.approx(60.0, abs=5.0)
    assert cache.entries(["for ever", "absent"]) == [(b"w", None), None]
    assert asyncio.run(cache.aentries(["absent", "for ever"])) == [None, (b"w", None)]
    assert cache.entries([]) == []
    cache.close()


def test_a_look_and_a_write_are_one_round_trip_each(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, "p:", 60.0, **PATIENT)
    cache.get("warm")
    before = raw.info("stats")["total_commands_processed"]
    cache.set("k", b"v")
    cache.get("k")
    assert raw.info("stats")["total_commands_processed"] - before == 3  # these two, and the count before
    cache.close()


# -- who may ask -------------------------------------------------------------------------------------


def test_a_password_from_the_environment_opens_and_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_PASSWORD", "s3cret-word")
    monkeypatch.setenv("A_WRONG_ONE", "wr0ng-word")
    with Valkey("--requirepass", "s3cret-word") as server:
        cache = RedisCache.from_url(server.url, password_env="THE_PASSWORD")
        cache.set("k", b"v")
        assert asyncio.run(cache.aget("k")) == b"v"
        assert "s3cret" not in repr(cache) + repr(cache.clients.address)
        cache.close()
        for url, env in ((server.url, "A_WRONG_ONE"), (server.url.replace("//", "//:wr0ng-word@"), None)):
            wrong = RedisCache.from_url(url, password_env=env)
            with pytest.raises(CacheUnavailable, match="AuthenticationError") as caught:
                wrong.get("k")
            assert "wr0ng" not in str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)
            wrong.close()


def test_a_socket_of_this_machine_will_do(tmp_path: Any) -> None:
    path = f"{tmp_path}/s"
    with Valkey("--unixsocket", path):
        cache = RedisCache.from_url(f"unix://{path}?db=1")
        cache.set("k", b"v")
        assert asyncio.run(cache.aget("k")) == b"v"
        assert str(cache.clients.address) == f"unix://{path}"
        cache.close()


# -- a server that is away ---------------------------------------------------------------------------


def test_nothing_connects_before_it_is_used() -> None:
    cache = RedisCache.from_url(f"redis://{HOST}:{free_port()}")
    assert repr(cache).endswith("prefix 'lc:cache:', closed, not asked yet>")
    assert cache.stats().entries == 0
    cache.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_a_server_that_is_away_is_one_kind_of_error_and_soon_left_alone(awaited: bool) -> None:
    cache = RedisCache.from_url(f"redis://{HOST}:{free_port()}")

    def get() -> Any:
        return asyncio.run(cache.aget("k")) if awaited else cache.get("k")

    with pytest.raises(CacheUnavailable, match="ConnectionError") as caught:
        get()
    assert caught.value.where == str(cache.clients.address)
    with pytest.raises(CacheUnavailable, match="left alone for"):
        get()
    assert cache.stats().errors >= 2
    cache.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_a_server_that_hangs_costs_one_timeout_and_then_nothing(own: Valkey, awaited: bool) -> None:
    cache = RedisCache.from_url(
        own.url, timeout=0.05, breaker=BreakerPolicy(consecutive_failures=1, open_for=60)
    )

    async def ask_together() -> list[Any]:
        return await asyncio.gather(*(cache.aget("k") for _ in range(5)), return_exceptions=True)

    cache.set("k", b"v")
    own.pause()
    told: list[str] = []
    for _ in range(3):
        told += [str(error) for error in (asyncio.run(ask_together()) if awaited else [_caught(cache)])]
    own.resume()
    together = 5 if awaited else 1
    assert ["Timeout" in one for one in told] == [True] * together + [False] * 2 * together
    assert all("left alone" in one for one in told[together:])
    cache.close()


def _caught(cache: RedisCache) -> Any:
    try:
        return cache.get("k")
    except CacheUnavailable as error:
        return error


@pytest.mark.parametrize("awaited", [False, True])
def test_a_server_that_comes_back_is_found_again(own: Valkey, awaited: bool) -> None:
    cache = RedisCache.from_url(own.url, breaker=QUICK)
    with asyncio.Runner() as runner:

        def get() -> Any:
            return runner.run(cache.aget("k")) if awaited else cache.get("k")

        cache.set("k", b"v")
        assert get() == b"v"
        own.kill()
        with pytest.raises(CacheUnavailable):
            get()
        own.start()
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            try:
                assert get() is None  # it forgot everything
                break
            except CacheUnavailable:
                time.sleep(0.01)
        else:
            pytest.fail("it is not asked again")
        runner.run(cache.aclose())


def test_a_server_started_anew_between_two_looks_is_not_even_noticed(own: Valkey) -> None:
    cache = RedisCache.from_url(own.url)
    cache.set("k", b"v")
    own.kill()
    own.start()
    assert cache.get("k") is None  # the old connection was dead, and another one was taken
    assert cache.stats().errors == 0
    cache.close()


def test_how_long_it_may_block_is_known_once_it_has_answered(own: Valkey) -> None:
    cache = RedisCache.from_url(own.url, connect_timeout=0.1, timeout=0.2)
    assert cache.longest == inf
    cache.get("k")
    assert cache.longest == pytest.approx(0.5)
    own.kill()
    with pytest.raises(CacheUnavailable):
        cache.get("k")
    assert cache.longest == inf
    cache.close()


def test_who_leaves_while_it_waits_leaves_a_connection_that_is_not_used_again(own: Valkey) -> None:
    """An answer that comes late must not be taken for the answer to the next question."""
    cache = RedisCache.from_url(own.url, timeout=5.0)

    async def leave() -> list[Any]:
        await cache.amset({"a": b"1", "b": b"2"})
        own.pause()
        asking = asyncio.create_task(cache.aget("a"))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        own.resume()
        found = [await cache.aget("b"), await cache.aget("absent")]
        await cache.aclose()
        return found

    assert asyncio.run(leave()) == [b"2", None]


def test_a_server_that_says_something_else_is_an_error_and_no_more() -> None:
    with socket.create_server((HOST, 0)) as listening:

        def answer() -> None:
            for _ in range(4):
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1000)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        cache = RedisCache.from_url(f"redis://{HOST}:{listening.getsockname()[1]}")
        with pytest.raises(CacheUnavailable):
            cache.get("k")
        cache.close()


# -- many at once ------------------------------------------------------------------------------------


def test_closing_under_way_breaks_nobody_for_good(server: Valkey, raw: Any) -> None:
    cache = RedisCache.from_url(server.url, breaker=QUICK)
    done = threading.Event()
    other: list[BaseException] = []

    def use() -> None:
        while not done.is_set():
            try:
                cache.set("k", b"v")
                assert cache.get("k") in (b"v", None)
            except CacheUnavailable:
                pass
            except BaseException as error:
                other.append(error)

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(use)
        for _ in range(20):
            cache.close()
            time.sleep(0.002)
        done.set()
    assert other == []
    time.sleep(0.06)
    cache.set("k", b"w")
    assert cache.get("k") == b"w"
    cache.close()


def test_connections_are_given_back_from_another_thread(own: Valkey) -> None:
    cache = RedisCache.from_url(own.url, **PATIENT)

    async def use() -> int:
        await asyncio.gather(*(cache.aset(f"k{n}", b"v") for n in range(5)))
        await asyncio.to_thread(cache.close)
        with redis.Redis.from_url(own.url) as raw:
            for _ in range(1000):
                if len(raw.client_list()) == 1:
                    break
                await asyncio.sleep(0.01)
            return len(raw.client_list())

    assert asyncio.run(use()) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"prefix": None},
        {"prefix": b"p"},
        {"ttl": 0},
        {"ttl": "60"},
        {"timeout": 0},
        {"connect_timeout": None},
    ],
    ids=str,
)
def test_what_is_not_valid_is_one_config_error(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RedisCache.from_url("redis://h", **given)


@pytest.mark.parametrize("turns", [0, 1, 3, 6])
@pytest.mark.parametrize("warm", [False, True])
def test_a_loop_that_was_busy_for_long_does_not_take_a_server_for_away(
    server: Valkey, warm: bool, turns: int
) -> None:
    """The reply is there, and so is the timer: calls that begin together may keep a loop busy for long."""
    cache = RedisCache.from_url(server.url, "busy:", connect_timeout=0.3, timeout=0.3)
    cache.set("k", b"v")

    async def look() -> None:
        if warm:
            await asyncio.gather(*(cache.aget("k") for _ in range(4)))
        asked = [asyncio.create_task(cache.aget("k")) for _ in range(3)]
        claimed = asyncio.create_task(cache.aclaim([f"{warm} {turns}"]))
        for _ in range(turns):  # it connects, or has sent its command
            await asyncio.sleep(0)
        time.sleep(0.45)
        assert await asyncio.gather(*asked) == [b"v"] * 3
        assert (await claimed).claim is not None
        assert cache.breaker.state.value == "closed"
        await cache.aclose()

    asyncio.run(look())


def test_who_leaves_a_loop_that_was_busy_blames_nobody(own: Valkey) -> None:
    cache = RedisCache.from_url(own.url, "busy:", connect_timeout=0.1, timeout=0.1)

    async def look() -> None:
        await cache.aget("k")
        own.pause()  # or it answers before anybody can leave
        asked = asyncio.create_task(cache.aget("k"))
        for _ in range(5):  # it has sent its command
            await asyncio.sleep(0)
        time.sleep(0.4)  # longer than its timeouts let it wait
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        own.resume()
        assert cache.breaker.state.value == "closed"
        await cache.aclose()

    asyncio.run(look())


def test_what_ends_while_it_is_read_is_not_kept_for_ever() -> None:
    at = RedisCache.from_url("redis://127.0.0.1:1")._at
    found = at.entered([b"ends", -2, b"lasts", -1, b"short", 0, b"left", 1500, None, -2])
    assert found == [(b"ends", 0.001), (b"lasts", None), (b"short", 0.001), (b"left", 1.5), None]
