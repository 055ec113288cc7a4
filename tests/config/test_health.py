"""Health checks and who leads a fleet, as they are written in a file."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ConfigError, Endpoint, HealthPolicy, kinds
from langchain_cluster.config import cluster_arguments, describe, load
from langchain_cluster.config.describe import variables
from langchain_cluster.health import Health, Periodic
from langchain_cluster.leadership import LocalLeadership

ONE = {"endpoints": [{"id": "a", "model": "scripted:x"}]}


def made(health: Any, **more: Any) -> HealthPolicy:
    policy = cluster_arguments(load({**ONE, "health": health, **more}))["health"]
    assert isinstance(policy, HealthPolicy)
    return policy


class Third:
    """A check of another package."""

    timeout = 0.5

    def __init__(self, limit: float = 1.0, token: str = "", depth: int = 1) -> None:
        self.limit, self.token, self.depth = limit, token, depth

    def check(self, endpoint: Endpoint) -> Health:
        return Health(True)

    async def acheck(self, endpoint: Endpoint) -> Health:
        return Health(True)


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "langchain_cluster.health_checks"
    points = [
        EntryPoint("third", f"{__name__}:Third", group),
        EntryPoint("broken", "no_such_package:Thing", group),
        EntryPoint("no_check", "builtins:dict", group),
    ]
    monkeypatch.setattr(kinds, "entry_points", lambda group: points)
    monkeypatch.setattr(EntryPoint, "load", lambda point: found(point))


def found(point: EntryPoint) -> Any:
    if point.name == "broken":
        raise ModuleNotFoundError("No module named 'no_such_package'")
    return {"third": Third, "no_check": dict}[point.name]


GOOD = [
    ("vllm", "vllm(timeout=1)"),
    ("model", "ModelCheck(every=60, timeout=10)"),
    ({"check": "tcp"}, "TcpCheck(timeout=1)"),
    ({"rise": 5}, "HttpCheck('/health', timeout=1)"),
    ({"check": {"kind": "http", "path": "/x", "timeout": "250ms"}}, "HttpCheck('/x', timeout=0.25)"),
    ({"check": {"kind": "model", "every": "5m"}}, "ModelCheck(every=300, timeout=10)"),
    ({"check": {"kind": "sglang", "timeout": 2, "load": False}}, "sglang(timeout=2)"),
    (
        {"check": {"kind": "all", "checks": ["tcp", {"kind": "any", "checks": ["http", "tgi"]}]}},
        "All(TcpCheck(timeout=1), Any(HttpCheck('/health', timeout=1), tgi(timeout=1)))",
    ),
    (
        {"check": {"kind": "quorum", "need": 2, "checks": ["tcp", "http", "ollama"]}},
        "2 of 3: (TcpCheck(timeout=1), HttpCheck('/health', timeout=1), ollama(timeout=1))",
    ),
]


@pytest.mark.parametrize(("written", "check"), GOOD, ids=[check for _, check in GOOD])
def test_what_is_written_becomes_a_check(written: Any, check: str) -> None:
    assert repr(made(written).check) == check


@pytest.mark.parametrize(("written", "check"), GOOD, ids=[check for _, check in GOOD])
def test_what_is_described_can_be_read_again(written: Any, check: str) -> None:
    config = load({**ONE, "health": written})
    described = json.loads(json.dumps(describe(config)["health"]))
    assert load({**ONE, "health": described}).health == config.health


def test_every_field_of_a_policy_is_there() -> None:
    written = {
        "check": "tcp", "interval": "5s", "jitter": 0.5, "timeout": "2s", "rise": 1, "fall": 2,
        "concurrency": 8, "heartbeat_timeout": "1m",
    }  # fmt: skip
    assert set(written) == set(HealthPolicy.model_fields)
    policy = made(written)
    assert (policy.interval, policy.jitter, policy.timeout, policy.rise) == (5.0, 0.5, 2.0, 1)
    assert (policy.fall, policy.concurrency, policy.heartbeat_timeout) == (2, 8, 60.0)
    assert made({"check": None, "heartbeat_timeout": "30s"}).check is None
    assert made({}).interval == HealthPolicy().interval
    assert cluster_arguments(load(ONE))["health"] is None


KINDS = ["all, any, http", "quorum"]
BAD = [
    ("vlm", "health", ["unknown health check 'vlm'", *KINDS, "did you mean 'vllm'?"]),
    ("quorum", "health", ["check: {kind: quorum, checks: [...]}"]),
    (3, "health", ["is not a mapping"]),
    (["http"], "health", ["is not a mapping"]),
    ({"intervall": 1}, "health", ["unknown key 'intervall'", "did you mean 'interval'?"]),
    ({"interval": "5 parsecs"}, "health.interval", ["'5 parsecs' is no duration", "'250ms'"]),
    ({"rise": 0}, "health.rise", ["0 should be greater than or equal to 1"]),
    ({"check": None}, "health", ["neither a check nor a heartbeat_timeout"]),
    ({"check": 3}, "health.check", ["is not a mapping"]),
    ({"check": "htp"}, "health.check", ["unknown health check 'htp'", *KINDS, "did you mean 'http'?"]),
    ({"check": {"path": "/x"}}, "health.check.kind", ["is missing"]),
    ({"check": {"kind": 3}}, "health.check.kind", ["is not a text"]),
    ({"check": {"kind": "http", "pth": 1}}, "health.check", ["http has no option 'pth'", "mean 'path'?"]),
    ({"check": {"kind": "http", "path": "x"}}, "health.check.path", ["'x' does not begin with '/'"]),
    ({"check": {"kind": "http", "timeout": "x"}}, "health.check.timeout", ["'x' is no duration"]),
    ({"check": {"kind": "http", "timeout": 0}}, "health.check.timeout", ["0 is not a number of seconds"]),
    ({"check": {"kind": "http", "status": "200"}}, "health.check.status", ["'200' is neither a status"]),
    ({"check": {"kind": "http", "status": []}}, "health.check.status", ["[] is neither"]),
    ({"check": {"kind": "http", "status": True}}, "health.check.status", ["True is neither"]),
    ({"check": {"kind": "http", "body": 3}}, "health.check.body", ["3 is neither a text nor a pattern"]),
    ({"check": {"kind": "http", "method": "G T"}}, "health.check.method", ["'G T' is no method"]),
    ({"check": {"kind": "http", "headers": 3}}, "health.check.headers", ["no mapping of texts"]),
    ({"check": {"kind": "http", "headers": {"X": 3}}}, "health.check.headers", ["no mapping of texts"]),
    (
        {"check": {"kind": "http", "headers": {"Authorization": "hush"}}},
        "health.check.headers.Authorization",
        ["a secret does not belong in a config", "Authorization_env"],
    ),
    ({"check": {"kind": "vllm", "load": "x"}}, "health.check.load", ["'x' is neither true nor false"]),
    ({"check": {"kind": "model", "every": -1}}, "health.check.every", ["-1 is not a number of seconds"]),
    ({"check": {"kind": "model", "arguments": 3}}, "health.check.arguments", ["3 is not a mapping"]),
    ({"check": {"kind": "model", "leader": "x"}}, "health.check", ["has no option 'leader'"]),
    ({"check": {"kind": "any"}}, "health.check.checks", ["is missing"]),
    ({"check": {"kind": "any", "checks": []}}, "health.check.checks", ["the list is empty"]),
    ({"check": {"kind": "any", "checks": "tcp"}}, "health.check.checks", ["is not a list"]),
    ({"check": {"kind": "any", "checks": ["tpc"]}}, "health.check.checks.0", ["did you mean 'tcp'?"]),
    (
        {"check": {"kind": "all", "checks": [{"kind": "any", "checks": [{"kind": "tcp", "timeout": 0}]}]}},
        "health.check.checks.0.checks.0.timeout",
        ["0 is not a number of seconds"],
    ),
    ({"check": {"kind": "any", "need": 1, "checks": ["tcp"]}}, "health.check.need", ["is for a quorum"]),
    ({"check": {"kind": "quorum", "checks": ["tcp"]}}, "health.check.need", ["is missing"]),
    ({"check": {"kind": "quorum", "need": 2, "checks": ["tcp"]}}, "health.check.need", ["2 of 1 checks"]),
]  # fmt: skip


@pytest.mark.parametrize(("written", "key", "words"), BAD, ids=[str(written) for written, *_ in BAD])
def test_what_is_wrong_is_told_with_the_place(
    tmp_path: Path, written: Any, key: str, words: list[str]
) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({**ONE, "health": written}))
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {key}: ")
    for word in words:
        assert word in message
    assert "hush" not in message


def test_a_header_with_a_secret_comes_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {
        "check": {"kind": "all", "checks": [{"kind": "http", "headers": {"Authorization_env": "PROBE"}}]}
    }
    config = load({**ONE, "health": written})
    assert variables(config) == {"PROBE": False}
    with pytest.raises(ConfigError, match="PROBE is not set") as caught:
        cluster_arguments(config)
    assert caught.value.key == "health.check.checks.0.headers.Authorization_env"
    monkeypatch.setenv("PROBE", "Bearer hush")
    check = cluster_arguments(config)["health"].check
    assert check.checks[0]._pages._headers == {"Authorization": "Bearer hush"}
    assert "hush" not in repr(check)
    assert "hush" not in json.dumps(describe(config))


def test_a_check_of_another_package_is_found_with_its_options(
    third: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(Periodic("third").check, Third)
    monkeypatch.setenv("TOKEN", "hush")
    check = made({"check": {"kind": "third", "limit": "2m", "token_env": "TOKEN", "depth": 3}}).check
    assert (check.limit, check.token, check.depth) == (120.0, "hush", 3)
    for written, words in [
        ("thrid", "did you mean 'third'?"),
        (
            {"check": {"kind": "third", "limt": 1}},
            "expected one of limit, token, depth; did you mean 'limit'?",
        ),
        ("broken", "broken (no_such_package:Thing) cannot be loaded: No module named 'no_such_package'"),
        ("no_check", "no_check makes {}, which is no HealthCheck"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load({**ONE, "health": written})
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match=r"expected one of .*third.*did you mean 'third'"):
        Periodic("thrid")


# -- leadership -------------------------------------------------------------------------------------


def test_a_model_check_gets_the_leader_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv("REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    written = {"kind": "redis", "url_env": "REDIS_URL", "name": "chat", "lease": "20s", "timeout": "100ms"}
    both = {"check": {"kind": "all", "checks": ["tcp", "model"]}}
    tcp, model = made(both, leadership=written).check.checks
    assert repr(model.leader) == "RedisLeadership(name='chat', lease=20)"
    assert model.leader.timeout == 0.1
    assert repr(tcp) == "TcpCheck(timeout=1)"
    config = load({**ONE, "leadership": written})
    assert "hush" not in json.dumps(describe(config))
    assert describe(config)["leadership"]["url_env"] == "REDIS_URL"
    assert variables(config) == {"REDIS_URL": True}
    assert load({**ONE, "leadership": describe(config)["leadership"]}).leadership == config.leadership
    with pytest.raises(
        ConfigError, match=r"^health.check: a lease of 5 s is not longer than a look.*leadership"
    ):
        made("model", leadership={**written, "lease": "5s"})
    assert isinstance(made("model", leadership="local").check.leader, LocalLeadership)


@pytest.mark.parametrize(
    ("written", "key", "words"),
    [
        ("rdis", "leadership.kind", ["expected one of local, redis; did you mean 'redis'?"]),
        ("redis", "leadership.url_env", ["is missing"]),
        (3, "leadership", ["is not a mapping"]),
        ({"kind": "redis", "url": "redis://:hush@x"}, "leadership.url", ["as url_env"]),
        ({"kind": "redis", "url_env": "redis://:hush@x"}, "leadership.url_env", ["is not the name"]),
        ({"kind": "redis", "url_env": "A", "lease": "x"}, "leadership.lease", ["'x' is no duration"]),
        ({"kind": "redis", "url_env": "A", "leas": 1}, "leadership", ["did you mean 'lease'?"]),
        ({"kind": "redis", "url_env": "A", "name": "{}"}, "leadership.name", ["a text without braces"]),
        ({"kind": "local", "lease": 1}, "leadership", ["unknown key 'lease'"]),
        ({"kind": "redis", "url_env": "NOT_SET"}, "leadership.url_env", ["NOT_SET is not set"]),
        ({"kind": "redis", "url_env": "ODD"}, "leadership.url_env", ["is not an address"]),
    ],
)
def test_what_is_wrong_with_a_leadership_is_told(
    written: Any, key: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv("ODD", "http://:hush@x")
    with pytest.raises(ConfigError) as caught:
        cluster_arguments(load({**ONE, "leadership": written}))
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    for word in words:
        assert word in message
    assert "hush" not in message


def test_without_redis_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_cluster.leadership import redis

    def nothing(module: str, **_: Any) -> Any:
        raise ImportError('it needs redis: pip install "langchain-cluster[redis]"')

    monkeypatch.setattr(redis, "need", nothing)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r'^leadership.kind: it needs redis: pip install ".*\[redis\]"'):
        cluster_arguments(load({**ONE, "leadership": {"kind": "redis", "url_env": "REDIS_URL"}}))
