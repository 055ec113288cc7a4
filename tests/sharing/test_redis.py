"""Through a real Valkey: what one cluster sees, the others hear; and nothing it does fails a call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from langchain_cluster import BreakerPolicy, Cluster, ClusteredLLM, ConfigError, Endpoint, Outcome
from langchain_cluster.model.events import SharingLost, SharingRestored
from langchain_cluster.sharing import RedisSharing
from langchain_cluster.sharing.line import MOST_A_SECOND
from langchain_cluster.testing import ScriptedModel
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
_names = count()
FAILED = Outcome.failed(error=ConnectionError("refused"), seconds=0.1)


@pytest.fixture
def namespace() -> str:
    return f"sharing-{next(_names)}"


@pytest.fixture
def server() -> Iterator[Valkey]:
    """One that may be killed."""
    if binary() is None:
        pytest.skip(INSTALL)
    with Valkey() as server:
        yield server


def cluster(url: str, namespace: str = "n", **settings: Any) -> Cluster:
    endpoints = [Endpoint(name, ScriptedModel("hello"), url=f"http://{name}") for name in "abcd"]
    breaker = BreakerPolicy(consecutive_failures=1, open_for=60.0)
    return Cluster(endpoints, sharing=RedisSharing(url, namespace=namespace, **settings), breaker=breaker)


def fail(cluster: Cluster, id: str, outcome: Outcome = FAILED) -> None:
    pool = cluster.pool
    pool.acquire(exclude=[m.endpoint.id for m in pool if m.endpoint.id != id]).settle(outcome)


def member(cluster: Cluster, id: str) -> Any:
    return cluster.pool.get(id)


def soon(happened: Callable[[], Any], within: float = 20.0) -> None:
    ends = time.monotonic() + within
    while not happened():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.002)


def listening(url: str, namespace: str, how_many: int) -> None:
    """Wait until so many listen."""
    channel = f"langchain-cluster:{{{namespace}}}:hearsay:news"
    with redis.Redis.from_url(url) as client:
        soon(lambda: client.pubsub_numsub(channel)[0][1] == how_many)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "langchain-cluster-sharing"]


def test_two_others_hear_of_it_and_who_comes_later_learns_it(valkey_url: str, namespace: str) -> None:
    with (
        cluster(valkey_url, namespace) as one,
        cluster(valkey_url, namespace) as two,
        cluster(valkey_url, namespace) as three,
        cluster(valkey_url, f"{namespace}-other") as stranger,
    ):
        listening(valkey_url, namespace, 3)
        fail(one, "a")
        fail(one, "b", Outcome.throttled(retry_after=50.0))
        for other in (two, three):
            soon(lambda: member(other, "a").breaker_state == "open")  # noqa: B023
            soon(lambda: member(other, "b").cooling_until > 0)  # noqa: B023
            assert 40 < member(other, "b").cooling_until - other.clock.now() <= 50
        with cluster(valkey_url, namespace) as later:
            soon(lambda: member(later, "a").breaker_state == "open")
            soon(lambda: member(later, "b").cooling_until > 0)
            assert 0 < member(later, "b").cooling_until - later.clock.now() <= 50
        one.pool.reset("a")
        soon(lambda: member(two, "a").open_until <= two.clock.now())
        assert member(two, "a").breaker_state == "open"
        assert member(stranger, "a").breaker_state == "closed"
        assert member(stranger, "b").cooling_until == 0
        with redis.Redis.from_url(valkey_url) as client:
            (kept,) = client.hgetall(f"langchain-cluster:{{{namespace}}}:hearsay")
            assert kept.startswith(b"cooling ")
            assert 0 < client.ttl(f"langchain-cluster:{{{namespace}}}:hearsay") <= 300


def test_nothing_begins_before_the_start_and_nothing_is_left_after_the_end(
    valkey_url: str, namespace: str
) -> None:
    before = len(threads())
    one = cluster(valkey_url, namespace)
    assert len(threads()) == before
    for _ in range(2):
        with one:
            assert len(threads()) == before + 1
            listening(valkey_url, namespace, 1)
            assert "up" in repr(one._exchange._channel)  # type: ignore[union-attr]
        assert len(threads()) == before
        listening(valkey_url, namespace, 0)


def test_rubbish_and_floods_harm_nobody(valkey_url: str, namespace: str) -> None:
    with cluster(valkey_url, namespace) as one, cluster(valkey_url, namespace) as two:
        listening(valkey_url, namespace, 2)
        name = f"langchain-cluster:{{{namespace}}}:hearsay"
        with redis.Redis.from_url(valkey_url) as client:
            client.hset(name, mapping={"x": "rubbish", "y": "99999999999999 {}", "z": b"\xff 1"})
            for raw in (b"", b"\xff", b"{}", b"x" * 100_000, b'{"v":1}'):
                client.publish(f"{name}:news", raw)
            for _ in range(2 * MOST_A_SECOND):
                client.publish(f"{name}:news", b"noise")
            with cluster(valkey_url, namespace) as later:
                listening(valkey_url, namespace, 3)
                time.sleep(1.1)  # what floods a second is not read to its end
                fail(one, "a")
                for other in (two, later):
                    soon(lambda: member(other, "a").breaker_state == "open")  # noqa: B023


def test_redis_goes_and_comes_back_under_load_and_no_call_fails(server: Valkey) -> None:
    with cluster(server.url) as one, cluster(server.url) as two:
        events: list[Any] = []
        one.events.subscribe(events.append)
        listening(server.url, "n", 2)
        llm, failures, stop = ClusteredLLM(cluster=one), [], threading.Event()

        def call() -> None:
            while not stop.wait(0.002):
                try:
                    llm.invoke("hello")
                except Exception as error:
                    failures.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        try:
            server.kill()
            soon(lambda: any(isinstance(e, SharingLost) for e in events))
            fail(one, "a")  # what is seen meanwhile is told later
            server.start()
            soon(lambda: any(isinstance(e, SharingRestored) for e in events))
            soon(lambda: member(two, "a").breaker_state == "open")
            server.pause()  # it hangs: that is noticed too
            soon(lambda: sum(isinstance(e, SharingLost) for e in events) == 2)
            server.resume()
            soon(lambda: sum(isinstance(e, SharingRestored) for e in events) == 2)
        finally:
            server.resume()
            stop.set()
            caller.join()
        assert failures == []
        assert [type(e) for e in events if isinstance(e, SharingLost | SharingRestored)] == [
            SharingLost,
            SharingRestored,
        ] * 2


def test_who_starts_while_it_is_away_begins_at_once_and_ends_at_once(server: Valkey) -> None:
    server.kill()
    before = len(threads())
    events: list[Any] = []
    one = cluster(server.url)
    one.events.subscribe(events.append)
    with one:
        assert ClusteredLLM(cluster=one).invoke("hello").content == "hello"
        soon(lambda: any(isinstance(e, SharingLost) for e in events))
        for number in range(400):
            fail(one, "a", Outcome.throttled(retry_after=1.0 + number))
            one.pool.reset("a")
    assert len(threads()) == before


def test_a_password_is_shown_nowhere() -> None:
    with Valkey("--requirepass", "s3cret") as server:
        wrong = server.url.replace("redis://", "redis://:wr0ng-one@")
        events: list[Any] = []
        one = cluster(wrong)
        one.events.subscribe(events.append)
        with one:
            soon(lambda: events)
            shown = f"{events} {one!r} {one._exchange!r} {one._exchange._channel!r}"  # type: ignore[union-attr]
        assert "wr0ng-one" not in shown
        with cluster(server.url.replace("redis://", "redis://:s3cret@")) as right:
            listening(server.url.replace("redis://", "redis://:s3cret@"), "n", 1)
            assert right.running


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "http://:s3cret@x"}, "is not an address"),
        ({"namespace": "a{b}"}, "is not a name"),
        ({"namespace": ""}, "is not a name"),
        ({"max_percent": 101}, "is not a percentage"),
        ({"timeout": 0}, "is not a number of seconds"),
    ],
)
def test_what_cannot_be_meant_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as found:
        RedisSharing(**{"url": "redis://127.0.0.1:1"} | settings)
    assert "s3cret" not in str(found.value)
