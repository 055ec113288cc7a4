"""Whatever is wrong with a file is one ConfigError that says where, what, and what would be valid."""

import os
from pathlib import Path

import pytest

from langchain_cluster.config import load
from langchain_cluster.errors import ConfigError

ONE = "endpoints: [{id: a, model: 'scripted:x'}]\n"


def refused(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def endpoint(line: str) -> str:
    return f"endpoints:\n  - id: a\n    model: scripted:x\n    {line}\n"


BAD_KEYS = [
    # what is written, the key it is told at, what else the message says
    ("name: x", "endpoints", ["is missing"]),
    (
        "endpoint: []",
        None,
        ["unknown key 'endpoint'", "expected one of agents, alerts, balancer", "did you mean 'endpoints'?"],
    ),
    ("endpoints: []", "endpoints", ["at least one endpoint"]),
    ("endpoints: 3", "endpoints", ["is not a list"]),
    ("endpoints: {id: a}", "endpoints", ["is not a list"]),
    ("endpoints: [3]", "endpoints.0", ["is not a mapping"]),
    ("endpoints: [{model: 'scripted:x'}]", "endpoints.0.id", ["is missing"]),
    ("endpoints: [{id: a}]", "endpoints.0.model", ["is missing"]),
    (
        "endpoints: [{id: a, modle: x}]",
        "endpoints.0",
        ["unknown key 'modle'", "weight", "did you mean 'model'?"],
    ),
    ("endpoints: [{id: 7, model: 'scripted:x'}]", "endpoints.0.id", ["is not a text"]),
    ("endpoints: [{id: ' ', model: 'scripted:x'}]", "endpoints.0.id", ["is an empty text"]),
    ("endpoints: [{id: a, model: gpt-4o}]", "endpoints.0.model", ["'gpt-4o'", "'openai:gpt-4o-mini'"]),
    ("endpoints: [{id: a, model: ':x'}]", "endpoints.0.model", ["provider:model-name"]),
    (
        "endpoints: [{id: a, model: 'x:y'}, {id: b, model: 'x:y'}, {id: a, model: 'x:y'}]",
        "endpoints.2.id",
        ["'a' is the id of endpoints.0 too"],
    ),
    (endpoint("weight: -1"), "endpoints.0.weight", ["-1 should be greater than or equal to 0"]),
    (endpoint("weight: .inf"), "endpoints.0.weight", ["should be a finite number"]),
    (endpoint("weight: yes"), "endpoints.0.weight", ["should be a valid number"]),
    (endpoint("weight: heavy"), "endpoints.0.weight", ["should be a valid number"]),
    (endpoint("priority: -1"), "endpoints.0.priority", ["greater than or equal to 0"]),
    (endpoint("context_window: 0"), "endpoints.0.context_window", ["greater than or equal to 1"]),
    (
        endpoint("roles: [llmm]"),
        "endpoints.0.roles.0",
        ["expected one of llm, embedding", "did you mean 'llm'?"],
    ),
    (endpoint("roles: []"), "endpoints.0.roles", ["at least 1 item"]),
    (endpoint("tags: 3"), "endpoints.0.tags", ["is not a list"]),
    (endpoint("capacity: {max_rmp: 3}"), "endpoints.0.capacity", ["did you mean 'max_rpm'?"]),
    (endpoint("capacity: {max_rpm: 0}"), "endpoints.0.capacity.max_rpm", ["greater than or equal to 1"]),
    (endpoint("price: {input: -1}"), "endpoints.0.price.input", ["greater than or equal to 0"]),
    (endpoint("metadata: {a: 1}"), "endpoints.0.metadata.a", ["is not a text"]),
    (endpoint("url: gpu-1:8000"), "endpoints.0.url", ["'gpu-1:8000'", "'http://10.0.0.1:8000/v1'"]),
    (endpoint("base_url: 'ftp://gpu-1'"), "endpoints.0.base_url", ["'ftp://gpu-1'"]),
    (
        endpoint("url: http://a\n    base_url: http://b"),
        "endpoints.0.base_url",
        ["another spelling of url"],
    ),
    (endpoint("params: 3"), "endpoints.0.params", ["is not a mapping"]),
    (endpoint("params: {max_retries: 3}"), "endpoints.0.params.max_retries", ["policy.attempts"]),
    (endpoint("params: {base_url: 'http://a'}"), "endpoints.0.params.base_url", ["key of its own", "url"]),
    (endpoint("params: {api_key_env: A}"), "endpoints.0.params.api_key_env", ["key of its own"]),
    (
        ONE + "balancer: peak_ewm",
        "balancer",
        ["unknown balancer 'peak_ewm'", "power_of_two", "mean 'peak_ewma'?"],
    ),
    (ONE + "balancer: {kind: rond_robin}", "balancer", ["'rond_robin'", "did you mean 'round_robin'?"]),
    (
        ONE + "balancer: {kind: peak_ewma, decai: 1}",
        "balancer",
        ["has no option 'decai'", "did you mean 'decay'?"],
    ),
    (ONE + "balancer: {kind: peak_ewma, decay: 0}", "balancer.decay", ["seconds > 0"]),
    (
        ONE + "balancer: {kind: peak_ewma, decay: x}",
        "balancer.decay",
        ["'x' is not a number of seconds > 0"],
    ),
    (ONE + "balancer: {kind: round_robin, decay: 1}", "balancer", ["takes no options, not even 'decay'"]),
    (ONE + "balancer: [peak_ewma]", "balancer", ["is not a mapping"]),
    (ONE + "policy: {atempts: 1}", "policy", ["unknown key 'atempts'", "did you mean 'attempts'?"]),
    (ONE + "policy: {attempts: 0}", "policy.attempts", ["0 should be greater than or equal to 1"]),
    (ONE + "policy: {timeout: '15'}", "policy.timeout", ["'15' is no duration", "'15s'"]),
    (ONE + "policy: {timeout: 15 seconds}", "policy.timeout", ["'250ms', '15s', '2m', '1h'"]),
    (
        ONE + "policy: {timeout: 1, attempt_timeout: 2}",
        "policy",
        ["attempt_timeout 2 s is longer than timeout 1 s"],
    ),
    (
        ONE + "policy: {cache: rfresh}",
        "policy.cache",
        ["expected one of true, false, refresh", "mean 'refresh'?"],
    ),
    (ONE + "policy: {stop: {kind: after_atempt}}", "policy.stop.kind", ["did you mean 'after_attempt'?"]),
    (ONE + "policy: {stop: {kind: after_attempt}}", "policy.stop.attempts", ["is missing"]),
    (ONE + "policy: {stop: {kind: after_delay, seconds: -1}}", "policy.stop.seconds", ["-1"]),
    (ONE + "policy: {wait: 3}", "policy.wait", ["is not a mapping"]),
    (
        ONE + "policy: {wait: {kind: fxed}}",
        "policy.wait.kind",
        ["random_exponential", "did you mean 'fixed'?"],
    ),
    (
        ONE + "policy: {wait: {seconds: 1}}",
        "policy.wait.kind",
        ["is missing", "expected one of random_exponential"],
    ),
    (ONE + "policy: {wait: {kind: fixed, second: 1}}", "policy.wait", ["did you mean 'seconds'?"]),
    (ONE + "policy: {wait: {kind: fixed}}", "policy.wait.seconds", ["is missing"]),
    (
        ONE + "policy: {wait: {kind: random, min: 3s, max: 2s}}",
        "policy.wait",
        ["min 3 s is longer than max 2 s"],
    ),
    (
        ONE + "policy: {wait: {kind: exponential, min: 3, max: 2}}",
        "policy.wait",
        ["min 3 s is longer than max 2 s"],
    ),
    (ONE + "agents: {p: {tmeout: 1}}", "agents.p", ["unknown key 'tmeout'", "did you mean 'timeout'?"]),
    (ONE + "agents: {p: 3}", "agents.p", ["is not a mapping"]),
    (ONE + "agents: 3", "agents", ["is not a mapping"]),
    (
        ONE + "policy: {timeout: 9}\nagents: {p: {attempt_timeout: 10}}",
        "agents.p",
        ["longer than timeout 9 s"],
    ),
    (ONE + "breaker: {open_for: 9, max_open: 1}", "breaker", ["max_open 1 s is shorter than open_for 9 s"]),
    (ONE + "breaker: {open_fr: 9}", "breaker", ["did you mean 'open_for'?"]),
    (ONE + "breaker: 5", "breaker", ["is not a mapping"]),
    (ONE + "cache: rediss", "cache.kind", ["unknown kind 'rediss'", "did you mean 'redis'?"]),
    (ONE + "cache: redis", "cache.url", ["give either url or url_env"]),
    (ONE + "cache: {kind: redis, url: 'redis://:pw@h'}", "cache.url", ["password_env"]),
    (ONE + "cache: {kind: redis, url: 'redis://h:x'}", "cache.url", ["a port is not"]),
    (ONE + "cache: {kind: redis, url: 'redis://h', password: x}", "cache.password", ["password_env"]),
    (ONE + "cache: {kind: layered, layers: []}", "cache.layers", ["at least 1"]),
    (ONE + "cache: {kind: layered, layers: [memory, {kind: redis}]}", "cache.layers.1.url", ["either"]),
    (ONE + "cache: {kind: layered, layers: [memory], write: around}", "cache.write", ["through, back"]),
    (ONE + "cache: {policy: lrru}", "cache.policy", ["expected one of lru, lfu", "did you mean 'lru'?"]),
    (ONE + "cache: {max_entries: 0}", "cache.max_entries", ["greater than or equal to 1"]),
    (ONE + "drain_timeout: -1", "drain_timeout", ["-1 should be greater than 0"]),
    (ONE + "drain_timeout: true", "drain_timeout", ["not a boolean"]),
    (ONE + "7: x", None, ["the key 7 is not a text"]),
    (ONE + "policy: {7: x}", "policy", ["the key 7 is not a text"]),
    (ONE + "agents: &a {p: *a}", "agents.p", ["contains itself"]),
    ("- a", None, ["is a list at its top level"]),
    ("just words", None, ["is a text at its top level"]),
    ("7", None, ["is a int at its top level"]),
]


@pytest.mark.parametrize(("written", "key", "parts"), BAD_KEYS, ids=[row[0][-60:] for row in BAD_KEYS])
def test_a_wrong_key_or_value_is_told_with_its_place(
    tmp_path: Path, written: str, key: str | None, parts: list[str]
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(written)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert (caught.value.file, caught.value.key) == (str(path), key)
    message = str(caught.value)
    assert message.startswith(f"{path}: {key}: " if key else f"{path}: ")
    assert message.count(str(path)) == 1
    for part in parts:
        assert part in message


BROKEN = [
    ("a.yaml", b"endpoints: [\n", ["broken YAML at line 2, column 1"]),
    ("a.yaml", b"a: 1\n b: 2\n", ["broken YAML at line 2, column 3", "mapping values are not allowed"]),
    ("a.yaml", b"a: 1\na: 2\n", ["at line 2, column 1", "the key 'a' is given twice"]),
    ("a.yml", b"x:\n  - {y: 1, z: 2, y: 3}\n", ["at line 2, column 18", "the key 'y' is given twice"]),
    ("a.yaml", b"a: 1\n---\nb: 1\n", ["broken YAML at line 2, column 1", "another document"]),
    ("a.yaml", b"a: b\n\x07", ["broken YAML at line 2, column 1", "not allowed"]),
    ("a.yaml", b"a: *nobody\n", ["broken YAML at line 1, column 4", "undefined alias"]),
    ("a.yaml", b"a: !!python/object:os.system x\n", ["broken YAML at line 1, column 4", "constructor"]),
    ("a.yaml", b"a: 2024-13-45\n", ["broken YAML", "month"]),
    ("a.yaml", b"a: !!float ''\n", ["broken YAML"]),
    ("a.yaml", b"[" * 5000, ["broken YAML", "nested too deeply"]),
    ("a.yaml", b"{? [1]: 2}", ["broken YAML", "unhashable"]),
    ("a.toml", b"a = 1\nb =\n", ["broken TOML at line 2, column 4"]),
    ("a.toml", b"a = 1\na = 2\n", ["broken TOML at line 2", "overwrite"]),
    ("a.toml", b"a = [1,\n2", ["broken TOML at line 2, column 2"]),
    ("a.toml", b"# nothing\n", ["is empty", "endpoints"]),
    ("a.json", b'{"a": 1,\n "b" 2}', ["broken JSON at line 2, column 6", "':'"]),
    ("a.json", b'{"a": 1, "a": 2}', ["the key 'a' is given twice"]),
    ("a.json", b'{"a": NaN}', ["NaN is not JSON"]),
    ("a.json", b"[" * 100_000, ["broken JSON", "nested too deeply"]),
    ("a.json", b"[]", ["is a list at its top level"]),
    ("a.json", b'{"a": "\xff"}', ["not UTF-8", "byte 0xff at offset 7"]),
    ("a.yaml", b"\xef\xbb\xbfab\xe9", ["not UTF-8", "byte 0xe9 at offset 5"]),
    ("a.yaml", "endpoints: []".encode("utf-16"), ["not UTF-8", "byte 0xff at offset 0"]),
    ("a.yaml", b"", ["is empty"]),
    ("a.yaml", b"  \n# a comment\n", ["is empty"]),
    ("a.toml", b"", ["is empty"]),
    ("a.json", b" \n", ["is empty"]),
    (
        "a.ymal",
        b"endpoints: []",
        ["unknown kind of file '.ymal'", ".yaml, .yml, .toml, .json", "did you mean"],
    ),
    ("a", b"endpoints: []", ["unknown kind of file ''", ".yaml, .yml, .toml, .json"]),
]


@pytest.mark.parametrize(("name", "raw", "parts"), BROKEN, ids=[f"{n} {r[:30]!r}" for n, r, _ in BROKEN])
def test_a_file_that_is_not_of_its_language_is_told_with_line_and_column(
    tmp_path: Path, name: str, raw: bytes, parts: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    for part in parts:
        assert part in message


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(ONE)
    (tmp_path / "other.json").write_text("{}")
    assert refused(tmp_path / "clster.yaml").endswith("there is no such file; did you mean 'cluster.yaml'?")
    assert refused(tmp_path / "cluster.toml").endswith("did you mean 'cluster.yaml'?")
    assert refused(tmp_path / "zzz.yaml").endswith("there is no such file")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"nor its directory {str(tmp_path / 'gone')!r}" in refused(tmp_path / "gone" / "cluster.yaml")


def test_a_directory_a_pipe_and_a_strange_name_are_refused(tmp_path: Path) -> None:
    assert "is a directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "is not a regular file" in refused(tmp_path / "pipe.yaml")
    assert refused("a\0b.yaml")
    assert refused("x" * 5000 + ".yaml")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(ONE)

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert refused(path) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize("source", [None, 3, b"cluster.yaml", ["cluster.yaml"]])
def test_what_is_no_source_is_refused(source: object) -> None:
    with pytest.raises(ConfigError, match="a config is a path, a mapping or a ClusterConfig"):
        load(source)  # type: ignore[arg-type]
