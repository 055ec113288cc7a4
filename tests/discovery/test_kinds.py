"""Discoveries by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from langchain_cluster import ConfigError, PluginError, StaticDiscovery
from langchain_cluster import kinds as finding
from langchain_cluster.discovery.kinds import GROUP, make_discovery


def test_ours_are_made_by_name() -> None:
    made = make_discovery("etcd", {"prefix": "/llm/", "endpoints": ["http://127.0.0.1:1"]})
    assert repr(made) == "<EtcdDiscovery '/llm/' at http://127.0.0.1:1, nothing known yet>"
    pytest.importorskip("consul")
    assert "'llm'" in repr(make_discovery("consul", {"service": "llm"}))


def test_another_packages_is_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("written", "langchain_cluster:StaticDiscovery", GROUP)

    def entry_points(*, group: str) -> list[Any]:
        return [point] if group == GROUP else []

    monkeypatch.setattr(finding, "entry_points", entry_points)
    assert isinstance(make_discovery("written", {"endpoints": []}), StaticDiscovery)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("consull", {}, "did you mean 'consul'"),
        ("etcd", {"prefixx": "/a"}, "did you mean 'prefix'"),
        ("etcd", {"prefix": "/a", "wait": 0}, "not a number > 0"),
        ("etcd", {}, "prefix: is missing: etcd cannot be made without"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_valid(kind: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        make_discovery(kind, options)
    assert isinstance(error.value, PluginError) is (kind == "consull")
