"""A store as LangChain's own model cache, by the standard suites and by its own promises."""

from __future__ import annotations

from pathlib import Path

import pytest

tests = pytest.importorskip("langchain_tests.integration_tests")

from langchain_core.language_models import FakeListChatModel  # noqa: E402
from langchain_core.messages import AIMessage  # noqa: E402
from langchain_core.outputs import ChatGeneration, Generation  # noqa: E402

from langchain_cluster.cache import LangChainCache, MemoryCache  # noqa: E402


class TestTheSyncSuite(tests.SyncCacheTestSuite):
    @pytest.fixture
    def cache(self) -> LangChainCache:
        return LangChainCache(MemoryCache())


class TestTheAsyncSuite(tests.AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self) -> LangChainCache:
        return LangChainCache(MemoryCache())


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
        cache.lookup("p", "m")


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
