"""What a cache holds, for people: each entry by whoever wrote it, and layers that are away."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, cached
from langchain_cluster.admin.kept import counted, find, read, take_back
from langchain_cluster.cache import LayeredCache, MemoryCache, ShardedCache
from langchain_cluster.endpoints.codec import AnswerCodec
from langchain_cluster.endpoints.retrieval import DocumentsCodec
from langchain_cluster.endpoints.values import ValueCodec
from langchain_cluster.endpoints.vectors import VectorCodec
from langchain_cluster.model.label import labelled
from langchain_cluster.testing import ScriptedModel


class Away(MemoryCache):
    """A store that is away."""

    name = "away"

    def get(self, key: str) -> bytes | None:
        raise ConnectionError("redis://:hush@host")

    def stats(self) -> Any:
        raise ConnectionError("redis://:hush@host")


class Plain:
    """A store of somebody's own, which knows no times."""

    name = "plain"

    def get(self, key: str) -> bytes | None:
        return ValueCodec().encode({"a": 1}) if key == "k" else None

    def close(self) -> None:
        """Nothing."""

    aget = mget = get


def cluster_of(store: Any) -> Any:
    return ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=store).cluster


def message(text: str, **more: Any) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text, **more))])


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        (AnswerCodec().encode(message("hi")), "answer", "hi"),
        (labelled(AnswerCodec().encode(message("hi")), 1.0, ["tag"]), "answer", "hi"),
        (DocumentsCodec().encode([Document("one"), Document("two")]), "documents", "one\ntwo"),
        (VectorCodec().encode([[1.0, 2.0, 3.0]]), "vectors", "1 of 3 dimensions"),
        (ValueCodec().encode(("a", 1)), "value", "('a', 1)"),
        (b"\x80\x04.", "unknown", "3 bytes that this version did not write"),
    ],
)
def test_an_entry_is_read_by_whoever_wrote_it(raw: bytes, kind: str, text: str) -> None:
    assert read(raw) == (kind, text)


def test_calls_of_tools_are_shown() -> None:
    call = {"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}
    assert '"name":"f"' in read(AnswerCodec().encode(message("", tool_calls=[call])))[1]


def test_a_layer_that_is_away_is_told_without_its_secret() -> None:
    near = MemoryCache()
    cluster = cluster_of(LayeredCache([near, Away()]))
    near.set("k", ValueCodec().encode(1))
    (found,) = find(cluster, {"key": "k"})
    assert [(layer["name"], layer["kind"]) for layer in found["layers"]] == [
        ("memory", "value"),
        ("away", "away"),
    ]
    assert "hush" not in str(found)
    told = counted(cluster_of(Away()))
    assert told == {"exact": {"error": "ConnectionError"}, "semantic": None}


def test_the_shard_that_holds_a_key_is_asked() -> None:
    shards = {"a": MemoryCache(), "b": MemoryCache()}
    cluster = cluster_of(ShardedCache(shards))
    step = cached(len, cache=cluster)
    assert step.invoke("four") == 4
    key = step.keeper.step("four", None, {}).key
    ((layer,),) = [found["layers"] for found in find(cluster, {"key": key})]
    assert (layer["kind"], layer["text"]) == ("value", "4")


def test_a_store_of_ones_own_is_asked_as_it_can_be() -> None:
    cluster = cluster_of(Plain())
    (found,) = find(cluster, {"key": "k"})
    assert (found["layers"][0]["ttl"], found["layers"][0]["text"]) == (None, "{'a': 1}")
    assert find(cluster, {"key": "other"}) == [{"key": "other", "layers": []}]
    assert counted(cluster) == {"exact": None, "semantic": None}


def test_what_is_asked_has_to_make_sense() -> None:
    cluster = cluster_of(MemoryCache())
    for given in ({}, {"key": "k", "prompt": "p"}):
        with pytest.raises(ConfigError, match="give either key or prompt"):
            find(cluster, given)
    with pytest.raises(ConfigError, match="what is to be taken back"):
        take_back(cluster, {})
    without = cluster_of(None)
    for ask in (lambda: find(without, {"key": "k"}), lambda: take_back(without, {"tenant": "ann"})):
        with pytest.raises(ConfigError, match="there is no exact cache"):
            ask()
