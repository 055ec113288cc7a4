"""A store as LangChain's own model cache, by the standard suites and by its own promises."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

tests = pytest.importorskip("langchain_tests.integration_tests")

from langchain_core.caches import InMemoryCache  # noqa: E402
from langchain_core.language_models import FakeListChatModel  # noqa: E402
from langchain_core.messages import AIMessage  # noqa: E402
from langchain_core.outputs import ChatGeneration, Generation  # noqa: E402

from langchain_cluster.cache import (  # noqa: E402
    LangChainCache,
    LangChainLayer,
    LayeredCache,
    MemoryCache,
    RedisCache,
    ShardedCache,
)
from langchain_cluster.cache.langchain import _decode  # noqa: E402
from langchain_cluster.errors import ConfigError  # noqa: E402

STORES = {
    "memory": lambda url: MemoryCache(),
    "layered": lambda url: LayeredCache([MemoryCache(), MemoryCache()]),
    "sharded": lambda url: ShardedCache({"a": MemoryCache(), "b": MemoryCache()}),
    "borrowed": lambda url: LangChainLayer(InMemoryCache()),
    "redis": lambda url: RedisCache.from_url(url(), f"suite-{next(numbers)}:", timeout=10.0),
}
numbers = count()


@pytest.fixture(params=list(STORES))
def suited(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A store of each kind, empty."""
    made: Any = STORES[request.param](lambda: request.getfixturevalue("valkey_url"))
    yield made
    made.close()


class TestTheSyncSuite(tests.SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, suited: Any) -> LangChainCache:
        return LangChainCache(suited, prefix="" if isinstance(suited, LangChainLayer) else "lc:langchain:")


class TestTheAsyncSuite(tests.AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, suited: Any) -> LangChainCache:
        return LangChainCache(suited, prefix="" if isinstance(suited, LangChainLayer) else "lc:langchain:")


@pytest.fixture
def store() -> MemoryCache:
    return MemoryCache()


def test_a_chat_model_answers_the_second_time_from_the_cache(store: MemoryCache) -> None:
    model = FakeListChatModel(responses=["first", "second"], cache=LangChainCache(store))
    assert model.invoke("hello").content == "first"
    assert model.invoke("hello").content == "first"
    assert model.invoke("other").content == "second"


async def test_an_awaited_chat_model_does_too(store: MemoryCache) -> None:
    model = FakeListChatModel(responses=["first", "second"], cache=LangChainCache(store))
    assert (await model.ainvoke("hello")).content == "first"
    assert (await model.ainvoke("hello")).content == "first"


def test_a_message_comes_back_whole(store: MemoryCache) -> None:
    cache = LangChainCache(store)
    message = AIMessage(
        content=[{"type": "text", "text": "hi"}],
        tool_calls=[{"name": "f", "args": {"x": [1, None]}, "id": "1", "type": "tool_call"}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"finish_reason": "tool_calls"},
        id="run-1",
    )
    cache.update("p", "m", [ChatGeneration(message=message), Generation(text="plain")])
    got = cache.lookup("p", "m")
    assert got is not None
    assert got[0].message == message  # type: ignore[union-attr]
    assert got[1] == Generation(text="plain")
    assert cache.lookup("p", "m") is not got


def test_prompt_and_model_cannot_run_into_each_other(store: MemoryCache) -> None:
    cache = LangChainCache(store)
    cache.update("a|b", "c", [Generation(text="x")])
    assert cache.lookup("a", "b|c") is None
    assert cache.lookup("a|b|c", "") is None
    assert cache.lookup("3|a|b", "c") is None
    assert cache.lookup("a|b", "c") is not None


def test_a_prompt_that_is_no_valid_unicode_can_be_kept(store: MemoryCache) -> None:
    cache = LangChainCache(store)
    cache.update("half a pair: \ud83d", "m", [Generation(text="x")])
    assert cache.lookup("half a pair: \ud83d", "m") is not None


def test_clearing_leaves_others_entries_alone(store: MemoryCache) -> None:
    cache, other = LangChainCache(store), LangChainCache(store, prefix="other:")
    cache.update("p", "m", [Generation(text="x")])
    other.update("p", "m", [Generation(text="y")])
    cache.clear()
    assert cache.lookup("p", "m") is None
    assert other.lookup("p", "m") == [Generation(text="y")]


def test_whoever_writes_to_the_store_cannot_have_other_objects_built(store: MemoryCache) -> None:
    cache = LangChainCache(store)
    evil = (
        b'[{"lc":1,"type":"constructor","id":["langchain_core","prompts","prompt","PromptTemplate"],'
        b'"kwargs":{"template":"x","input_variables":[]}}]'
    )
    store.set(cache._key("p", "m"), evil)
    with pytest.raises(ValueError, match="not allowed"):
        _decode(evil)
    assert cache.lookup("p", "m") is None


def test_a_secret_of_the_environment_is_never_read(
    store: MemoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOP_SECRET", str(Path.home()))
    cache = LangChainCache(store)
    store.set(
        cache._key("p", "m"),
        b'[{"lc":1,"type":"constructor","id":["langchain","schema","output","Generation"],'
        b'"kwargs":{"text":{"lc":1,"type":"secret","id":["TOP_SECRET"]}}}]',
    )
    try:
        got = cache.lookup("p", "m")
    except Exception as error:
        assert str(Path.home()) not in str(error)  # noqa: PT017
    else:
        assert str(Path.home()) not in str(got)


class Away(MemoryCache):
    """A store that is away."""

    def get(self, key: str) -> bytes | None:
        raise ConnectionError("no route, and the password is hunter2")

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        raise ConnectionError("no route")


async def test_a_store_that_is_away_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    model = FakeListChatModel(responses=["first", "second", "third"], cache=LangChainCache(Away()))
    assert model.invoke("hello").content == "first"
    assert (await model.ainvoke("hello")).content == "second"
    (told,) = [record.message for record in caplog.records if record.name == "langchain_cluster"]
    assert "ConnectionError" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("raw", [b"", b"{", b"3", b'["x"]', b"[{}]", b"\xff"])
async def test_foreign_bytes_are_a_miss(raw: bytes, store: MemoryCache) -> None:
    cache = LangChainCache(store)
    store.set(cache._key("p", "m"), raw)
    assert cache.lookup("p", "m") is None
    assert await cache.alookup("p", "m") is None


@pytest.mark.parametrize("given", [5, MemoryCache], ids=repr)
def test_what_is_no_store_is_told_at_once(given: Any) -> None:
    with pytest.raises(ConfigError):
        LangChainCache(given)
