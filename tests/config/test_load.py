import json
import pickle
import subprocess
import sys
from collections import ChainMap
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from langchain_cluster import config
from langchain_cluster.config import ClusterConfig, load
from langchain_cluster.errors import ConfigError

SAME = {
    "a.yaml": """
name: lab
endpoints:
  - {id: a, model: "scripted:x", weight: 2, tags: fast, capacity: {max_rpm: 60}}
  - {id: b, model: "scripted:x", params: {delay: 0.5}}
balancer: {kind: peak_ewma, decay: 5}
policy: {attempts: 2, timeout: 15s, wait: {kind: fixed, seconds: 100ms}}
agents: {planner: {attempts: 5}}
cache: memory
""",
    "a.toml": """
name = "lab"
cache = "memory"
[[endpoints]]
id = "a"
model = "scripted:x"
weight = 2
tags = "fast"
capacity.max_rpm = 60
[[endpoints]]
id = "b"
model = "scripted:x"
params = {delay = 0.5}
[balancer]
kind = "peak_ewma"
decay = 5
[policy]
attempts = 2
timeout = "15s"
wait = {kind = "fixed", seconds = "100ms"}
[agents.planner]
attempts = 5
""",
    "a.json": json.dumps(
        {
            "name": "lab",
            "endpoints": [
                {
                    "id": "a",
                    "model": "scripted:x",
                    "weight": 2,
                    "tags": ["fast"],
                    "capacity": {"max_rpm": 60},
                },
                {"id": "b", "model": "scripted:x", "params": {"delay": 0.5}},
            ],
            "balancer": {"kind": "peak_ewma", "decay": 5},
            "policy": {"attempts": 2, "timeout": 15, "wait": {"kind": "fixed", "seconds": 0.1}},
            "agents": {"planner": {"attempts": 5}},
            "cache": {"kind": "memory"},
        }
    ),
}
ONE: dict[str, Any] = {"endpoints": [{"id": "a", "model": "scripted:x"}]}


def test_three_languages_say_the_same(tmp_path: Path) -> None:
    said = []
    for name, text in SAME.items():
        (tmp_path / name).write_text(text)
        said.append(load(tmp_path / name).model_dump())
    assert said[0] == said[1] == said[2]
    assert said[0]["policy"]["timeout"] == 15.0
    assert said[0]["policy"]["wait"] == {"kind": "fixed", "seconds": 0.1}
    assert said[0]["endpoints"][0]["weight"] == 2.0


def test_a_path_may_be_a_text_and_its_suffix_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "A.YML"
    path.write_bytes(b"\xef\xbb\xbf" + SAME["a.yaml"].encode())
    assert load(str(path)).name == "lab"


def test_a_config_is_itself_and_any_mapping_will_do() -> None:
    loaded = load(ONE)
    assert load(loaded) is loaded
    assert load(ChainMap(ONE, {"name": "lab"})).name == "lab"
    frozen = MappingProxyType(
        {"endpoints": ({"id": "a", "model": "scripted:x"},), "policy": MappingProxyType({})}
    )
    assert load(frozen) == loaded


def test_what_was_handed_in_is_not_changed() -> None:
    given = {**ONE, "policy": {"attempts": 2}, "agents": {"planner": {"timeout": 9}}, "cache": "memory"}
    before = json.dumps(given)
    load(given)
    assert json.dumps(given) == before


def test_an_agent_starts_from_the_policy() -> None:
    loaded = load(
        {
            **ONE,
            "policy": {"attempts": 2, "timeout": 300},
            "agents": {"planner": {"attempt_timeout": 90}, "critic": {"attempts": 1, "timeout": None}},
        }
    )
    planner, critic = loaded.agents["planner"], loaded.agents["critic"]
    assert (planner.attempts, planner.timeout, planner.attempt_timeout) == (2, 300.0, 90.0)
    assert (critic.attempts, critic.timeout) == (1, None)
    again = ClusterConfig(endpoints=loaded.endpoints, policy=loaded.policy, agents={"a": loaded.policy})
    assert again.agents["a"].attempts == 2


def test_null_switches_off() -> None:
    loaded = load({**ONE, "breaker": None, "cache": None, "policy": {"timeout": None, "wait": None}})
    assert loaded.breaker is None
    assert loaded.cache is None
    assert loaded.policy.timeout is None
    assert loaded.policy.wait is None


def test_an_anchor_and_a_merge_are_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "endpoints:\n  - &a {id: a, model: 'scripted:x', weight: 2}\n"
        "  - &b {<<: *a, id: b}\n  - {<<: *b, id: c}\n"
    )
    assert [(e.id, e.weight) for e in load(path).endpoints] == [("a", 2.0), ("b", 2.0), ("c", 2.0)]


def test_one_thing_named_a_million_times_is_looked_at_once(tmp_path: Path) -> None:
    """The billion laughs: small in the file and in memory, endless for who walks it naively."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "a.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="unknown key 'a0'"):
        load(path)


def test_nesting_without_end_is_refused() -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested more than 50 levels"):
        load({**ONE, "policy": deep})


def test_a_config_survives_pickle() -> None:
    loaded = load({**ONE, "agents": {"planner": {"attempts": 5}}})
    assert pickle.loads(pickle.dumps(loaded)) == loaded


@pytest.mark.parametrize(
    "section",
    [
        {"factory": {"model": "scripted:{model}"}},
        {"cache": {"kind": "redis", "url_env": "REDIS_URL"}},
        {"cache": {"kind": "layered", "layers": ["memory", {"kind": "redis", "url": "redis://localhost"}]}},
        {"discovery": [{"kind": "consul", "service": "llm", "token_env": None}]},
        {"sharing": {"url_env": "REDIS_URL"}, "leadership": {"kind": "redis", "url_env": "REDIS_URL"}},
        {"endpoints": [{"id": "a", "model": "openai:m", "params": {"openai_proxy_env": None}}]},
    ],
    ids=str,
)
def test_a_config_that_is_written_out_whole_is_read_again(section: dict[str, Any]) -> None:
    """As a pickled cluster is: a variable that is not named is null there."""
    written = load({**ONE, **section}).model_dump(mode="json")
    assert load(written).model_dump(mode="json") == written


def test_importing_the_package_reads_no_yaml_library() -> None:
    code = "import sys; import langchain_cluster.config; print('langchain_cluster.languages' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_name_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        config.lod  # noqa: B018
