"""Claims in a real server: one holder, who follows whom, and what a claim that nobody gives back costs."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from threading import enumerate as threads
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.errors import CacheUnavailable, ConfigError
from langchain_cluster.model.events import AnswerRenewed
from langchain_cluster.plan.effects import Claimed
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.services.valkey import INSTALL, Valkey, binary

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.skipif(binary() is None, reason=INSTALL)
PATIENT: Any = {"connect_timeout": 10.0, "timeout": 10.0}
KEY = "lc:{0}:m:1"


@pytest.fixture
def stores(server: Valkey, raw: Any) -> Iterator[tuple[RedisCache, RedisCache]]:
    """Of two processes."""
    one, other = (RedisCache.from_url(server.url, **PATIENT) for _ in range(2))
    yield one, other
    one.close()
    other.close()


def until(holds: Callable[[], Any], within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def claims(store: Any, keys: Any = (KEY,), *, awaited: bool = False, streaming: bool = False) -> Claimed:
    if awaited:
        return asyncio.run(store.aclaim(keys, streaming))  # type: ignore[no-any-return]
    return store.claim(keys, streaming)  # type: ignore[no-any-return]


@pytest.mark.parametrize("awaited", [False, True])
def test_one_has_it_and_the_others_see_how_it_asks(stores: Any, awaited: bool) -> None:
    one, other = stores
    for streaming in (False, True):
        mine = claims(one, awaited=awaited, streaming=streaming)
        assert mine.claim is not None
        assert claims(other, awaited=awaited) == Claimed(None, "redis", streaming=streaming)
        mine.claim.end(shared=True)
        assert until(lambda: (claimed := claims(other)).claim and claimed.claim.end(shared=True) is None)
        assert until(lambda: not other._claims._claims._held and not other._claims._claims._ended)
        until(lambda: not other.clients.blocking().exists(other.prefix + KEY + ":claim"))


@pytest.mark.parametrize("awaited", [False, True])
def test_a_claim_tells_the_answer_that_is_there(stores: Any, awaited: bool) -> None:
    one, other = stores
    one.set("lc:{0}:m:2", b"answer")
    claimed = claims(other, (KEY, "lc:{0}:m:2"), awaited=awaited)
    assert (claimed.raw, claimed.layer) == (b"answer", "redis")
    assert claimed.claim is not None


def test_a_claim_is_one_round_trip(stores: Any, raw: Any) -> None:
    one, _ = stores
    one.get("begin")
    with raw.monitor() as monitor:
        one.claim([KEY])
        one.delete("end")
        commands = []
        for said in monitor.listen():
            commands.append(said["command"].split()[0])
            if commands[-1] == "UNLINK":
                break
    assert commands == ["SET", "GET", "GET", "UNLINK"]


def test_who_has_nothing_to_share_lets_everybody_ask_for_a_while(stores: Any) -> None:
    one, other = stores
    mine = claims(one)
    assert mine.claim is not None
    mine.claim.end(shared=False)
    assert until(lambda: claims(other).alone)
    assert until(lambda: claims(other).claim is not None)  # and not for ever


def test_who_dies_keeps_the_others_waiting_for_the_lease_and_no_longer(server: Valkey, raw: Any) -> None:
    dead = RedisCache.from_url(server.url, lease=0.2, **PATIENT)
    dead._claims._claims._try = lambda *given: None  # type: ignore[method-assign]  (it renews nothing any more)
    other = RedisCache.from_url(server.url, **PATIENT)
    mine = claims(dead)
    assert mine.claim is not None
    assert 0 < raw.pttl(dead.prefix + KEY + ":claim") <= 200
    assert claims(other).claim is None
    assert until(lambda: claims(other).claim is not None)
    other.close()
    dead.close()


def test_a_claim_outlasts_its_lease_while_it_is_held(server: Valkey, raw: Any) -> None:
    store = RedisCache.from_url(server.url, lease=1.0, **PATIENT)
    mine = claims(store)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert raw.exists(store.prefix + KEY + ":claim")
        time.sleep(0.05)
    assert mine.claim is not None
    store.close()


def test_a_claim_that_nobody_has_any_more_ends(server: Valkey, raw: Any) -> None:
    """A call that was cancelled before it was told has no way to give it back."""
    store = RedisCache.from_url(server.url, lease=0.3, **PATIENT)
    claims(store)
    gc.collect()
    assert until(lambda: not raw.exists(store.prefix + KEY + ":claim"))
    assert until(lambda: not store._claims._claims._held)
    store.close()


def test_only_who_has_it_gives_it_back(stores: Any, raw: Any) -> None:
    one, other = stores
    late = claims(one)
    raw.delete(one.prefix + KEY + ":claim")  # its lease is over
    mine = claims(other)
    assert mine.claim is not None
    assert late.claim is not None
    late.claim.end(shared=True)
    late.claim.end(shared=True)
    assert until(lambda: not one._claims._claims._ended and not one._claims._claims._held)
    one.close()  # what is to be given back is, before it is closed
    assert raw.exists(one.prefix + KEY + ":claim")


def test_the_thread_begins_with_the_first_claim_and_ends_with_close(stores: Any) -> None:
    one, _ = stores

    def running() -> bool:
        return any(thread.name == "langchain-cluster-cache-claims" for thread in threads())

    one.get("k")
    assert not running()
    mine = claims(one)
    assert mine.claim is not None
    assert running()
    one.close()
    assert not running()


def test_claims_are_no_entries(stores: Any) -> None:
    one, _ = stores
    mine = claims(one)
    one.set(KEY, b"v")
    assert one.stats().entries == 1
    assert one.clear() == 1
    assert claims(one).claim is None  # it is still ours
    assert mine.claim is not None


def test_a_server_that_is_away_is_one_kind_of_error() -> None:
    store = RedisCache.from_url("redis://127.0.0.1:1/0")
    with pytest.raises(CacheUnavailable):
        store.claim([KEY])
    with pytest.raises(CacheUnavailable):
        asyncio.run(store.aclaim([KEY]))


@pytest.mark.parametrize("lease", [0, -1.0, "1", float("nan")])
def test_a_lease_is_some_seconds(lease: Any) -> None:
    with pytest.raises(ConfigError, match="lease"):
        RedisCache.from_url("redis://127.0.0.1:1/0", lease=lease)


# -- through other stores -----------------------------------------------------------------------------


def test_layers_claim_where_processes_meet(server: Valkey, stores: Any) -> None:
    one, other = stores
    layered = LayeredCache([MemoryCache(), one])
    assert layered.claims
    mine = claims(layered, awaited=True)
    assert mine.claim is not None
    assert claims(other).claim is None
    assert not LayeredCache([MemoryCache()]).claims
    assert not RedisCache.from_url(server.url, lease=None).claims
    layered.close()


def test_a_claim_is_not_given_back_before_a_write_that_was_put_off_is_made(stores: Any) -> None:
    one, other = stores
    layered = LayeredCache([MemoryCache(), one], "back")
    mine = claims(layered)
    assert mine.claim is not None
    written, one.set = one.set, lambda *given: time.sleep(0.2) or written(*given)
    layered.set(KEY, b"answer")
    mine.claim.end(shared=True)
    while (claimed := claims(other)).claim is None:
        time.sleep(0.005)
    assert claimed.raw == b"answer"
    claimed.claim.end(shared=True)
    layered.close()


def test_shards_claim_in_the_store_of_the_first_key(stores: Any) -> None:
    one, other = stores
    local = MemoryCache()
    rule: Callable[[str], bool] = lambda key: key.startswith("lc:")  # noqa: E731
    sharded = ShardedCache(local=local, remote=one, shard_key=rule)
    assert sharded.claims
    assert claims(sharded, ("here",)) is None
    local.set("here", b"answer")
    claimed = claims(sharded, (KEY, "here"), awaited=True)
    assert claimed.claim is not None
    assert (claimed.raw, claimed.layer) == (b"answer", "memory")
    assert claims(other).claim is None


@pytest.mark.parametrize("awaited", [False, True])
def test_two_processes_that_ask_one_question_ask_once(server: Valkey, raw: Any, awaited: bool) -> None:
    """Two clusters with a cache of their own stand for two processes."""
    model = ScriptedModel("The sky is blue.", delay=0.3)
    llms = [
        ClusteredLLM([Endpoint("gpu-1", model)], cache=RedisCache.from_url(server.url, **PATIENT))
        for _ in range(2)
    ]

    async def ask() -> list[Any]:
        if awaited:
            return await asyncio.gather(*(llm.ainvoke("Which colour?") for llm in llms))
        return await asyncio.gather(*(asyncio.to_thread(llm.invoke, "Which colour?") for llm in llms))

    messages = asyncio.run(ask())
    assert model.calls == 1
    assert sorted(m.response_metadata["cluster"]["cache"] for m in messages) == ["miss", "redis"]
    for llm in llms:
        llm.cluster.close()


@pytest.mark.parametrize("layered", [False, True])
def test_an_old_answer_is_asked_anew_by_one_of_the_processes(server: Valkey, raw: Any, layered: bool) -> None:
    model, clock, told = ScriptedModel("old", "new", delay=0.2), FakeClock(auto=True), []

    def process() -> ClusteredLLM:
        shared = RedisCache.from_url(server.url, **PATIENT)
        llm = ClusteredLLM(
            [Endpoint("gpu-1", model)],
            cache=LayeredCache([MemoryCache(), shared]) if layered else shared,
            policy=Policy(fresh_for=60.0, stale_while_revalidate=600.0),
            clock=clock,
        )
        llm.cluster.events.subscribe(
            lambda event: told.append(event) if isinstance(event, AnswerRenewed) else None
        )
        return llm

    llms = [process() for _ in range(4)]
    assert {llm.invoke("What is new?").text for llm in llms} == {"old"}
    clock.advance(100.0)
    for _ in range(3):
        assert {llm.invoke("What is new?").text for llm in llms} <= {"old", "new"}
    assert until(lambda: told)
    assert until(lambda: all(llm.invoke("What is new?").text == "new" for llm in llms))
    assert until(lambda: not any(llm.cluster._renewals._running for llm in llms))
    assert model.calls == 2
    assert len(told) == 1
    for llm in llms:
        llm.cluster.close()
