"""Awkward questions through every store, and what is no answer of ours in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.model.events import CacheFailed
from langchain_cluster.testing import MemoryJournals, ScriptedModel
from tests.cache.semantic.embedding import WordEmbeddings
from tests.faces.faces import Face, Heard, cluster_of, text_of
from tests.faces.test_cache_away import HOSTILE, Evil

numbers = count()
HALF = "lone \ud800 surrogate and \udfff"  # no Unicode: nobody could be asked that, and it is not kept
QUESTIONS = {
    "glob": "what is * and [a-z]? and \\? and {tag}",
    "lines": "one\nline\r\nand\x00more\t",
    "long": "word " * 210_000,  # a megabyte
    "letters": "键 🗝 ключ é",
    "template": "%s %(x)s {0} ${HOME}",
}
Make = Callable[[], Any]


@pytest.fixture(params=["memory", "redis", "layered", "sharded"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    def redis() -> RedisCache:
        pytest.importorskip("redis")
        url = request.getfixturevalue("valkey_url")
        return RedisCache.from_url(url, f"awkward-{next(numbers)}:", timeout=10.0, connect_timeout=10.0)

    makes: dict[str, Make] = {
        "memory": MemoryCache,
        "redis": redis,
        "layered": lambda: LayeredCache([MemoryCache(), redis()]),
        "sharded": lambda: ShardedCache([MemoryCache(), MemoryCache()]),
    }
    made = makes[request.param]()
    yield made
    made.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_awkward_question_is_answered_once_and_is_no_others(
    question: str, store: Any, plain_face: Face
) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("first", "second"))], cache=store)
    heard = Heard(llm)
    asked = QUESTIONS[question]
    assert cluster_of(plain_face.ask(llm, asked))["cache"] == "miss"
    again = plain_face.ask(llm, asked)
    assert (text_of(again), cluster_of(again)["cache"] == "miss") == ("first", False)
    assert text_of(plain_face.ask(llm, asked + "!")) == "second"
    assert heard.of(CacheFailed) == []


def test_half_a_surrogate_pair_is_answered_and_not_kept(store: Any, plain_face: Face) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("first", "second"))], cache=store)
    heard = Heard(llm)
    for said in ("first", "second"):
        message = plain_face.ask(llm, HALF)
        assert (text_of(message), cluster_of(message)["cache"]) == (said, "off")
    assert heard.of(CacheFailed) == []


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "long"])
def test_a_semantic_cache_keeps_awkward_questions(
    question: str, plain_face: Face, tmp_path: Path, runner: asyncio.Runner
) -> None:
    pytest.importorskip("numpy")
    from langchain_cluster.cache.semantic import SemanticCache

    journals, path = MemoryJournals(), tmp_path / "answers.npz"

    def make(**options: Any) -> Any:
        cache = SemanticCache(WordEmbeddings(), share=journals, **options)
        return ClusteredLLM(
            [Endpoint("e", ScriptedModel(f"{QUESTIONS[question]}: yes"))], semantic_cache=cache
        )

    first = make(path=path)
    heard = Heard(first)
    asked = QUESTIONS[question]
    said = text_of(plain_face.ask(first, asked))
    assert cluster_of(plain_face.ask(first, asked))["cache"] == "semantic"
    first.cluster.close()
    for again in (make(path=path), make()):
        assert again.cluster.semantic_cache.wait_ready(20.0)
        message = plain_face.ask(again, asked)
        assert (text_of(message), cluster_of(message)["cache"]) == (said, "semantic")
        again.cluster.close()
    assert heard.of(CacheFailed) == []


def test_a_semantic_cache_leaves_a_long_question_alone(plain_face: Face) -> None:
    pytest.importorskip("numpy")
    from langchain_cluster.cache.semantic import SemanticCache

    embeddings = WordEmbeddings()
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one", "two"))], semantic_cache=SemanticCache(embeddings))
    assert [text_of(plain_face.ask(llm, QUESTIONS["long"])) for _ in range(2)] == ["one", "two"]
    assert embeddings.calls == 0


@pytest.mark.parametrize("layered", [False, True])
def test_hostile_bytes_in_a_real_redis_are_misses_and_events(
    layered: bool, plain_face: Face, valkey_url: str
) -> None:
    redis = pytest.importorskip("redis")
    prefix = f"hostile-{next(numbers)}:"
    patient = {"timeout": 10.0, "connect_timeout": 10.0}
    shared = RedisCache.from_url(valkey_url, prefix, **patient)
    cache = LayeredCache([MemoryCache(), shared]) if layered else shared
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=cache)
    heard = Heard(llm)
    assert text_of(plain_face.ask(llm, "hello")) == "the answer"
    with redis.Redis.from_url(valkey_url) as client:
        key = min(client.keys(f"{prefix}*"), key=len)  # beside it may lie what holds for the call alone
        for raw in HOSTILE:
            before = len(heard.of(CacheFailed))
            client.set(key, raw)
            if layered:
                cache.layers[0].clear()  # type: ignore[union-attr]
            message = plain_face.ask(llm, "hello")
            assert (text_of(message), cluster_of(message)["cache"]) == ("the answer", "miss"), raw
            assert len(heard.of(CacheFailed)) > before
        client.delete(key)
        client.rpush(key, b"a list")  # another kind of value
        if layered:
            cache.layers[0].clear()  # type: ignore[union-attr]
        message = plain_face.ask(llm, "hello")
        assert (text_of(message), cluster_of(message)["cache"]) == ("the answer", "miss")
    assert not Evil.ran
    llm.cluster.close()
