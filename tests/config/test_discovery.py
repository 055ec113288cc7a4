"""Discovery in a file: sources, what makes models of what they find, and what is told of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM
from langchain_cluster.config import load
from langchain_cluster.config.schema import json_schema
from langchain_cluster.errors import ConfigError
from langchain_cluster.testing import SimulatedServer

POOL = "- {id: gpu-1, url: %s, model: llama}\n"


def test_a_cluster_follows_what_a_file_names(tmp_path: Path) -> None:
    pytest.importorskip("langchain_openai")
    with SimulatedServer() as server:
        (tmp_path / "pool.yaml").write_text(POOL % f"{server.url}/v1")
        llm = ClusteredLLM.from_config(
            {
                "discovery": {"kind": "file", "path": str(tmp_path / "pool.yaml"), "wait": "250ms"},
                "factory": {"model": "openai:{model}", "allow": ["127.0.0.0/8"]},
                "stability": {"max_shrink": 0.5, "keep": str(tmp_path / "kept")},
            }
        )
        assert "hello" in str(llm.invoke("hello").content)
        llm.cluster.close()
    assert (tmp_path / "kept").exists()


def test_a_factory_is_there_where_something_is_discovered(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(POOL % "http://10.0.0.1:8000/v1")
    source = {"kind": "file", "path": str(tmp_path / "pool.yaml")}
    with ClusteredLLM.from_config({"discovery": [source, source]}).cluster as cluster:
        assert cluster.wait_ready(20)
        (member,) = cluster.pool
        assert repr(member.endpoint.model) == "<Deferred openai:llama, not made yet>"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "^endpoints: is missing$"),
        ({"endpoints": []}, "endpoints: the list is empty: .* or a discovery"),
        ({"discovery": {"kind": "fiel"}}, "discovery: unknown discovery 'fiel'.*did you mean 'file'"),
        ({"discovery": {"path": "x"}}, "discovery.*kind: is missing"),
        ({"discovery": {"kind": "file", "pth": "x"}}, "discovery: file has no option 'pth'"),
        ({"discovery": {"kind": "file", "path": "x.txt"}}, "discovery.path: .*suffix"),
        (
            {"discovery": {"kind": "dns", "host": "a", "wait": "soon"}},
            "discovery.*wait: 'soon' is no duration",
        ),
        ({"discovery": {"kind": "consul", "token": "t"}}, "discovery.*token: a secret does not belong"),
        (
            {"discovery": [{"kind": "file", "path": "a.yaml"}, {"kind": "file", "path": "b"}]},
            "discovery.1.path: ",
        ),
        ({"factory": {"modle": "x"}, "endpoints": []}, "factory: unknown key 'modle'"),
        (
            {"discovery": {"kind": "file", "path": "a.yaml"}, "factory": {"api_key_env": "GPU_KEY"}},
            "factory.allow: a credential is only given",
        ),
        ({"stability": {"max_shrink": 2}, "endpoints": []}, "stability.max_shrink: "),
    ],
)
def test_a_mistake_is_told_with_its_place(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ClusteredLLM.from_config(load(given))


def test_the_schema_takes_one_source_or_several() -> None:
    one, several = json_schema()["properties"]["discovery"]["anyOf"]
    assert one == several["items"] == {"$ref": "#/$defs/SourceConfig"}
