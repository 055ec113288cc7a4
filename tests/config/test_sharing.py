"""`sharing` in a file."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ConfigError
from langchain_cluster.config import load
from langchain_cluster.config.build import cluster_arguments

pytest.importorskip("redis")
ENDPOINTS = [{"id": "a", "model": "openai:m", "url": "http://10.0.0.1:8000/v1"}]


def config(**sharing: Any) -> Any:
    return load({"endpoints": ENDPOINTS, "sharing": {"kind": "redis", "url_env": "REDIS_URL"} | sharing})


def test_a_file_says_where_what_is_seen_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    made = cluster_arguments(config(namespace="chat", max_percent=30, timeout="250ms"))["sharing"]
    assert repr(made) == "RedisSharing(namespace='chat', max_percent=30)"
    assert made.timeout == 0.25
    assert cluster_arguments(load({"endpoints": ENDPOINTS}))["sharing"] is None
    assert "s3cret" not in repr(ClusteredLLM.from_config(config()).cluster)


@pytest.mark.parametrize(
    ("sharing", "key"),
    [
        ({"namespace": "a{b}"}, "sharing.namespace"),
        ({"max_percent": 101}, "sharing.max_percent"),
        ({"url": "redis://:s3cret@127.0.0.1"}, "sharing.url"),
        ({"password": "s3cret"}, "sharing.password"),
        ({"kind": "kafka"}, "sharing.kind"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(sharing: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as found:
        config(**sharing)
    assert key in str(found.value)
    assert "s3cret" not in str(found.value)


@pytest.mark.parametrize("value", [None, "http://:s3cret@x"])
def test_a_variable_that_is_missing_or_no_address_is_told(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("REDIS_URL", value)
    with pytest.raises(ConfigError, match=r"sharing\.url_env") as found:
        cluster_arguments(config())
    assert "s3cret" not in str(found.value)
