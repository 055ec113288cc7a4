"""Answers are taken back by pattern, tenant, model and tag, from every kind of store, in both colours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.model.cache_key import cache_key
from langchain_cluster.model.label import HEAD, MOST_TAGS, given_at, labelled, tags_of, unlabelled
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.services.valkey import Valkey

PATIENT: Any = {"connect_timeout": 10.0, "timeout": 10.0}
Make = Callable[[], Any]


class Plain:
    """A store of a user's, that knows no more than the port asks for."""

    name = "plain"

    def __init__(self) -> None:
        self._store = MemoryCache()

    def __getattr__(self, name: str) -> Any:
        if name.removeprefix("a") in ("remove", "invalidate"):
            raise AttributeError(name)
        return getattr(self._store, name)


@pytest.fixture(params=["memory", "redis", "layered", "layered back", "sharded", "layers in memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    def shared() -> RedisCache:
        store = RedisCache.from_url(request.getfixturevalue("server").url, "invalidate[*]:", **PATIENT)
        store.clear()
        return store

    made: dict[str, Make] = {
        "memory": MemoryCache,
        "redis": shared,
        "layered": lambda: LayeredCache([MemoryCache(), shared()]),
        "layered back": lambda: LayeredCache([MemoryCache(), shared()], "back"),
        "sharded": lambda: ShardedCache([MemoryCache(), MemoryCache(), shared()]),
        "layers in memory": lambda: LayeredCache([MemoryCache(), MemoryCache()]),
    }
    store = made[request.param]()
    yield store
    store.close()


@pytest.fixture(params=["blocking", "awaited"])
def invalidate(request: pytest.FixtureRequest, store: Any) -> Any:
    if request.param == "blocking":
        return store.invalidate
    return lambda *given, **named: asyncio.run(store.ainvalidate(*given, **named))


def key(tenant: str | None, model: str, digest: str) -> str:
    return cache_key(tenant, model, digest)


ALL = {
    "ann m 1": (key("ann", "m", "1"), ("prices", "docs")),
    "ann m 2": (key("ann", "m", "2"), ("docs",)),
    "ann n 1": (key("ann", "n|x", "1"), ()),
    "bob m 1": (key("bob", "m|y|z", "1"), ("prices",)),
    "nobody m 1": (key(None, "m", "1"), ()),
    "another": ("other", ("prices",)),
}


@pytest.mark.parametrize(
    ("asked", "gone"),
    [
        ({"tenant": "ann"}, {"ann m 1", "ann m 2", "ann n 1"}),
        ({"tenant": ""}, {"nobody m 1"}),
        ({"tenant": "an"}, set()),
        ({"model": "m"}, {"ann m 1", "ann m 2", "bob m 1", "nobody m 1"}),
        ({"model": "n"}, {"ann n 1"}),
        ({"tag": "prices"}, {"ann m 1", "bob m 1", "another"}),
        ({"tag": "price"}, set()),
        ({"tenant": "ann", "model": "m"}, {"ann m 1", "ann m 2"}),
        ({"tenant": "ann", "tag": "prices"}, {"ann m 1"}),
        ({"pattern": "*:1", "model": "m"}, {"ann m 1", "bob m 1", "nobody m 1"}),
        ({"pattern": "other"}, {"another"}),
        ({"pattern": "*"}, set(ALL)),
    ],
    ids=str,
)
def test_what_has_all_that_is_asked_for_goes(store: Any, invalidate: Any, asked: Any, gone: set[str]) -> None:
    for where, tags in ALL.values():
        store.set(where, labelled(b"answer", 1.0, tags))
    found = invalidate(**asked)
    # Of writes that were put off, some lie in one layer and some in the other: the fullest counts.
    assert found <= len(gone) if getattr(store, "write", "") == "back" else found == len(gone)
    assert {name for name, (where, _) in ALL.items() if store.get(where) is None} == gone


def test_values_without_a_label_have_no_tags(store: Any, invalidate: Any) -> None:
    for number, raw in enumerate([b"", b"\xfe", b"\xfe\x01", bytes(range(200))]):
        store.set(str(number), raw)
    assert invalidate(tag="prices") == 0
    assert 0 < invalidate("*") <= 4
    assert store.stats().entries == 0


@pytest.mark.parametrize("given", [{}, {"pattern": 1}, {"tenant": 1}, {"model": b"m"}, {"tag": ["a"]}])
def test_what_is_not_valid_is_one_config_error(invalidate: Any, given: Any) -> None:
    with pytest.raises(ConfigError, match=r"cache\.invalidate"):
        invalidate(**given)


def test_a_store_of_a_users_is_cleared_as_far_as_it_can_be() -> None:
    plain = Plain()
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))], cache=plain)
    cache = llm.cluster.cache
    for where, tags in ALL.values():
        cache.set(where, labelled(b"answer", 1.0, tags))
    assert cache.invalidate(tenant="bob") == 1
    assert asyncio.run(cache.ainvalidate("other")) == 1
    for asked in ({"tag": "docs"}, {"pattern": "*", "tenant": "ann"}):
        with pytest.raises(ConfigError, match="Plain can only be cleared by one pattern"):
            cache.invalidate(**asked)
    assert LayeredCache([MemoryCache(), plain]).invalidate("*") == len(ALL) - 2


def test_the_near_layers_of_other_processes_let_it_go_too(server: Valkey) -> None:
    a, b = (
        LayeredCache([MemoryCache(), RedisCache.from_url(server.url, "coherent:", **PATIENT)])
        for _ in range(2)
    )
    where, tags = ALL["ann m 1"]
    for cache in (a, b):
        cache.get("begin")
        end = time.monotonic() + 10.0
        while not cache._coherence.listening:  # type: ignore[union-attr]
            assert time.monotonic() < end
            time.sleep(0.001)
    a.set(where, labelled(b"answer", 1.0, tags))
    end = time.monotonic() + 10.0
    while not b.layers[0].exists(where):  # what is read as it is told of does not settle
        assert b.get(where) is not None
        assert time.monotonic() < end
    assert a.invalidate(tag="docs") == 1
    end = time.monotonic() + 10.0
    while b.layers[0].exists(where):
        assert time.monotonic() < end
        time.sleep(0.001)
    a.close()
    b.close()


# -- of a cluster -------------------------------------------------------------------------------------


def told(**settings: Any) -> Any:
    return {"configurable": {"cluster": settings}}


def source(message: Any) -> str:
    return str(message.response_metadata["cluster"]["cache"])


def test_tags_of_the_policy_and_of_the_call_are_written_on_an_answer_and_not_into_its_key() -> None:
    policy = Policy(cache_tags=("all",))
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))], cache=True, policy=policy)
    cache = llm.cluster.cache
    for tag in ("all", "mine"):
        assert source(llm.invoke("hello", told(cache_tags=["mine"]))) == "miss"
        assert source(llm.invoke("hello", told(cache_tags="others"))) == "memory"
        assert source(llm.for_agent("planner", cache_tags=()).invoke("hello")) == "memory"
        assert cache.invalidate(tag="others") == 0
        assert cache.invalidate(tag=tag) == 1


def test_a_model_is_named_by_its_identity_or_else_by_its_name() -> None:
    endpoints = [
        Endpoint("a", ScriptedModel("hi"), identity="llama-3.1-8b", tags={"a"}),
        Endpoint("b", ScriptedModel("hi"), tags={"b"}),
    ]
    llm = ClusteredLLM(endpoints, cache=True)
    for tag in "ab":
        llm.invoke("hello", told(tags=[tag]))
    assert llm.cluster.cache.invalidate(model="llama-3.1-8b") == 1
    assert source(llm.invoke("hello", told(tags=["a"]))) == "miss"
    assert source(llm.invoke("hello", told(tags=["b"]))) == "memory"
    assert llm.cluster.cache.invalidate(model="scripted") == 1


def test_vectors_go_with_their_tenant_model_and_tags() -> None:
    pytest.importorskip("numpy")
    from langchain_cluster import ClusteredEmbeddings
    from langchain_cluster.testing import ScriptedEmbeddings

    cache, clock = MemoryCache(), FakeClock()
    policy = Policy(cache_tags=("docs-v1",), fresh_for=60.0)
    endpoint = Endpoint("e", ScriptedEmbeddings(), roles={"embedding"}, identity="mini")
    made = ClusteredEmbeddings([endpoint], cache=cache, policy=policy, clock=clock)
    vectors = made.embed_documents(["a", "b"])
    assert made.embed_documents(["b", "a"]) == vectors[::-1]
    assert cache.stats().sets == 2
    assert cache.invalidate(tenant="ann") == 0
    assert cache.invalidate(tag="docs-v1") == 2
    made.embed_documents(["a", "b"])
    clock.advance(61.0)
    made.embed_documents(["a", "b"])
    assert cache.stats().sets == 6  # too old
    assert cache.invalidate(model="mini") == 2


@pytest.mark.parametrize(
    "asked", [{"tenant": "ann"}, {"tag": "docs"}, {"model": "m"}, {"pattern": "*"}], ids=str
)
def test_answers_to_what_means_the_same_go_too(asked: Any) -> None:
    pytest.importorskip("numpy")
    from langchain_cluster.testing import ScriptedEmbeddings

    model = ScriptedModel("hi")
    llm = ClusteredLLM(
        [Endpoint("a", model, identity="m")], cache=True, semantic_cache=SemanticCache(ScriptedEmbeddings())
    )
    where = told(tenant="ann", cache_tags=["docs"])
    llm.invoke("What is it?", where)
    assert source(llm.invoke("What is it", where)) == "semantic"  # but for how it is written
    assert llm.cluster.cache.stats().entries == 1
    assert asyncio.run(llm.cluster.cache.ainvalidate(**asked)) == 2
    assert source(llm.invoke("What is it", where)) == "miss"
    assert llm.cluster.cache.invalidate(tenant="bob") == 0
    assert llm.cluster.semantic_cache.invalidate(**asked) == 1


@pytest.mark.parametrize("tags", [["a"] * 3, [str(n) for n in range(MOST_TAGS)], ["\ud800"], [""]])
def test_a_label_tells_the_time_and_the_tags(tags: list[str]) -> None:
    raw = labelled(b"answer", 12.5, tags)
    assert (given_at(raw), unlabelled(raw)) == (12.5, b"answer")
    assert len(tags_of(raw[:HEAD])) == len(set(tags))


@pytest.mark.parametrize(
    "raw", [b"\xfe", b"\xfe\0\0", labelled(b"", float("nan")), labelled(b"", float("inf"))]
)
def test_half_a_label_is_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="label"):
        given_at(raw)


@pytest.mark.parametrize("tags", [["a"] * 17, [1], "prices"])
def test_tags_are_a_few_texts(tags: Any) -> None:
    with pytest.raises(ConfigError, match="cache_tags"):
        Policy(cache_tags=tags)


def test_a_calls_tags_are_texts() -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("hi"))], cache=True)
    with pytest.raises(ConfigError, match=r"configurable\.cluster\.cache_tags"):
        llm.invoke("hello", told(cache_tags=[1]))
