"""A LangChain cache as a store: the contract, as far as such a cache can keep it, and in a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.outputs import Generation

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint
from langchain_cluster.cache import CacheStats, LangChainLayer, LayeredCache, MemoryCache
from langchain_cluster.testing import FakeClock, ScriptedModel
from langchain_cluster.testing.contracts import CacheStoreContract
from tests.faces.faces import cluster_of


class Counted(LangChainLayer):
    """One that can say how many entries there are: nobody else can."""

    def stats(self) -> CacheStats:
        held: Any = self.cache
        alive = [found for found in held._cache.values() if found[0].text]
        return replace(super().stats(), entries=len(alive))


class TestLangChainLayer(CacheStoreContract):
    @pytest.fixture
    def store(self) -> LangChainLayer:
        self.clock = FakeClock(0.0)
        return Counted(InMemoryCache(), clock=self.clock.now, seed=1)

    def pass_time(self, store: Any, seconds: float) -> None:
        self.clock.advance(seconds)

    @pytest.mark.parametrize("pattern", ["", "a*", "?", "[ab]"])
    def test_clearing_goes_by_one_kind_of_glob(self, asked: Any, pattern: str) -> None:
        """Such a cache cannot name its keys: it says so, and clears nothing."""
        asked.set("a", b"1")
        with pytest.raises(ConfigError, match="cannot name its keys"):
            asked.clear(pattern)
        assert asked.get("a") == b"1"

    def test_clearing_everything_leaves_nothing(self, asked: Any) -> None:
        asked.set("a", b"1")
        asked.clear()
        assert asked.get("a") is None

    def test_lookups_and_writes_are_counted(self, asked: Any, store: Any) -> None:
        asked.set("a", b"1")
        asked.get("a")
        asked.mget(["a", "b"])
        counted = store.stats()
        assert (counted.hits, counted.misses, counted.sets) == (2, 1, 1)


def test_what_models_keep_there_is_neither_read_nor_overwritten() -> None:
    theirs = InMemoryCache()
    theirs.update("k", "a model", [Generation(text="theirs")])
    layer = LangChainLayer(theirs)
    assert layer.get("k") is None
    layer.set("k", b"ours")
    assert theirs.lookup("k", "a model") == [Generation(text="theirs")]


@pytest.mark.parametrize("text", ["", "x", "lc1|", "lc1|x|eA==", "lc1||!", "lc1|nan|eA==", "lc1|-inf|eA=="])
def test_what_was_not_written_by_it_is_a_miss(text: str) -> None:
    theirs = InMemoryCache()
    layer = LangChainLayer(theirs)
    theirs.update("k", "langchain-cluster", [Generation(text=text)])
    assert layer.get("k") in (None, b"")
    assert layer.entries(["k", "other"])[1] is None


def test_the_time_left_is_told_to_the_layers_before_it() -> None:
    clock = FakeClock(0.0)
    near = MemoryCache(clock=clock.now)
    far = LangChainLayer(InMemoryCache(), clock=clock.now)
    far.set("k", b"x", 10.0)
    store = LayeredCache([near, far], clock=clock.now)
    clock.advance(4.0)
    assert store.get("k") == b"x"
    clock.advance(7.0)
    assert near.get("k") is None


@pytest.fixture(params=["alone", "as a layer", "wrapped"])
def cache(request: pytest.FixtureRequest) -> Any:
    theirs = InMemoryCache()
    made = {
        "alone": lambda: theirs,
        "as a layer": lambda: LayeredCache([MemoryCache(), theirs]),
        "wrapped": lambda: LayeredCache([LangChainLayer(theirs)]),
    }
    return made[request.param]()


async def test_a_cluster_takes_one_as_it_is(cache: Any) -> None:
    model = ScriptedModel("one", "two")
    llm = ClusteredLLM([Endpoint("e", model)], cache=cache)
    assert [cluster_of(llm.invoke("hi"))["cache"] != "miss" for _ in range(2)] == [False, True]
    assert cluster_of(await llm.ainvoke("hi"))["cache"] in ("memory", "langchain")
    assert "".join(chunk.text for chunk in llm.stream("hi")) == "one"
    other = {"configurable": {"cluster": {"tenant": "ann"}}}
    assert llm.invoke("hi", other).text == "two"
    llm.cluster.close()


class Broken(BaseCache):
    """A cache that raises."""

    def lookup(self, prompt: str, llm_string: str) -> Any:
        raise OSError("the disk is full")

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        raise OSError("the disk is full")

    def clear(self, **kwargs: Any) -> None:
        raise OSError("the disk is full")


def test_one_that_breaks_costs_hits_and_no_call() -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("x"))], cache=LayeredCache([MemoryCache(), Broken()]))
    assert [cluster_of(llm.invoke("hi"))["cache"] for _ in range(2)] == ["miss", "memory"]
    assert llm.cluster.cache.stats().errors >= 2
    llm.cluster.close()


@pytest.mark.parametrize(("given", "more"), [(3, {}), (InMemoryCache(), {"ttl": 0})])
def test_a_mistake_is_told_at_once(given: Any, more: Any) -> None:
    with pytest.raises(ConfigError):
        LangChainLayer(given, **more)
