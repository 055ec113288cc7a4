"""Every command through typer's runner: what is printed where, and the exit code."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from typer.testing import CliRunner, Result

from langchain_cluster.cli import screen
from langchain_cluster.cli.app import COMMANDS, make_app
from langchain_cluster.cli.version import EXTRAS
from langchain_cluster.errors import NoEndpointAvailable
from langchain_cluster.testing import SimulatedServer, faults

VALID = """
endpoints:
  - {id: a, model: 'scripted:fox', zone: eu}
  - {id: b, model: 'scripted:owl', weight: 2}
balancer: {kind: peak_ewma, decay: 5}
agents: {planner: {attempts: 5}}
cache: memory
breaker: null
"""


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(make_app(), list(arguments), input=typed)


@pytest.fixture
def valid(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(VALID)
    return str(path)


# -- all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "demo"])
def test_help_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"langchain-cluster {command}" in re.sub(r"\s+", " ", done.stdout)
    assert "Example" in done.stdout


def test_the_help_lists_the_commands_in_order() -> None:
    listed = re.findall(r"^│ (\w+) ", run("--help").stdout, re.MULTILINE)
    assert [name for name in listed if name in COMMANDS] == [c for c in COMMANDS if c in listed]
    assert {"chat", "check", "schema", "version"} <= set(listed)


WRONG_USE = [
    [],
    ["chekc"],
    ["check"],
    ["check", "a.yaml", "--probee"],
    ["version", "--jsn"],
    ["chat", "--once"],
]


@pytest.mark.parametrize("arguments", WRONG_USE, ids=" ".join)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("raised", "code"), [(NoEndpointAvailable("nobody"), 1), (KeyboardInterrupt(), 130)])
def test_errors_become_exit_codes(monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int) -> None:
    def fail() -> Any:
        raise raised

    monkeypatch.setattr("langchain_cluster.config.schema.json_schema", fail)
    done = run("schema")
    assert done.exit_code == code
    assert done.stderr == ("error: nobody\n" if code == 1 else "")


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    assert screen.clean("a\x1b]0;title\x07\tb\nc\r\x9b2J") == "a]0;title\tb\nc2J"
    assert screen.one_line("a\n  b\x1b[2J") == "a b[2J"
    assert screen.one_line(TimeoutError()) == "TimeoutError"


# -- version and schema -----------------------------------------------------------------------------


def test_version_says_what_a_bug_report_needs() -> None:
    table = run("version").stdout
    told = json.loads(run("version", "--json").stdout)
    for name in ("langchain-cluster", "python", "langchain-core"):
        assert f"{name} " in table
        assert told[name] in table
    assert told["extras"]["cli"] is True
    for extra, there in told["extras"].items():
        assert re.search(rf"\[{extra}\]\s+{'installed' if there else 'pip install'}", table)


def test_version_knows_the_extras_of_the_project() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"all"}


def test_check_says_where_endpoints_are_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "followed.yaml"
    path.write_text("discovery: {kind: file, path: pool.yaml}\nfactory: {model: 'scripted:{model}'}\n")
    done = run("check", str(path))
    assert done.exit_code == 0
    assert re.search(r"^discovery +file, path pool\.yaml", done.stdout, re.MULTILINE)
    assert re.search(r"^factory +model scripted:\{model\}", done.stdout, re.MULTILINE)


def test_schema_is_json() -> None:
    done = run("schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["title"] == "ClusterConfig"


# -- check ------------------------------------------------------------------------------------------


def test_check_shows_what_a_config_amounts_to(valid: str) -> None:
    done = run("check", valid)
    assert (done.exit_code, done.stderr) == (0, "")
    for part in (
        "scripted:fox",
        "eu",
        "peak_ewma, decay 5",
        "attempts 3",
        "agent planner",
        "attempts 5",
        "is valid",
    ):
        assert part in done.stdout
    assert re.search(r"breaker\s+none", done.stdout)
    assert re.search(r"cache\s+memory", done.stdout)
    assert "probe" not in done.stdout
    assert "\x1b" not in done.stdout


def test_check_shows_how_endpoints_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    check = "{kind: any, checks: [tcp, {kind: http, path: /ready}]}"
    path.write_text(
        f"endpoints: [{{id: a, model: 'scripted:x'}}]\nhealth: {{interval: 7s, check: {check}}}\n"
    )
    done = run("check", str(path))
    told = " ".join(done.stdout.split())
    assert "health check (any, checks (tcp) (http, path /ready)), interval 7" in told
    assert re.search(r"leadership\s+none", done.stdout)


def test_check_tells_programs_the_same(valid: str) -> None:
    told = json.loads(run("check", valid, "--json").stdout)
    assert (told["file"], told["ok"], told["variables"]) == (valid, True, {})
    assert [e["id"] for e in told["config"]["endpoints"]] == ["a", "b"]
    assert "probe" not in told


BAD = [
    ("endpoints: []", "endpoints: the list is empty"),
    ("endpoints: [{id: a, model: 'scripted:x'}]\nbalancer: peak_ewm", "did you mean 'peak_ewma'?"),
    ("a: 1\na: 2", "the key 'a' is given twice"),
    ("endpoints: [{id: a, model: 'openai:x', api_key_env: NOT_SET_ANYWHERE}]", "NOT_SET_ANYWHERE is not set"),
    ("endpoints: [{id: a, model: 'openai:x', api_key: sk-1}]", "api_key_env"),
    ('endpoints: [{id: "a\\e[2Jb", model: nope}]', "provider:model-name"),
]


@pytest.mark.parametrize(("written", "told"), BAD)
@pytest.mark.parametrize(
    "options", [["check"], ["check", "--json"], ["chat", "--once", "hello"]], ids=" ".join
)
def test_a_bad_config_is_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], written: str, told: str
) -> None:
    pytest.importorskip("langchain_openai")
    path = tmp_path / "cluster.yaml"
    path.write_text(written)
    done = run(*options, str(path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {path}: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_a_missing_file_is_exit_code_2(tmp_path: Path) -> None:
    done = run("check", str(tmp_path / "gone.yaml"))
    assert done.exit_code == 2
    assert done.stderr == f"error: {tmp_path / 'gone.yaml'}: there is no such file\n"


def probed(tmp_path: Path, *endpoints: dict[str, Any]) -> tuple[Result, dict[str, Any]]:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"endpoints": endpoints}))
    done = run("check", str(path), "--probe", "--timeout", "2", "--json")
    told = {finding["id"]: (finding["ok"], finding["detail"]) for finding in json.loads(done.stdout)["probe"]}
    return done, told


def openai(server: SimulatedServer, id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "model": "openai:m", "url": server.openai_url(id), **more}


def test_probe_says_who_answers_and_why_another_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_openai")
    pytest.importorskip("langchain_anthropic")
    key = "sk-probe-secret-7"
    monkeypatch.setenv("PROBE_KEY", key)
    with SimulatedServer() as server:
        server.behave(models=("m",))
        server.behave("other", models=("something-else",))
        server.fail(faults.Status(401), "locked", on="everything")
        server.fail(faults.Status(404), "listless", on="probes")
        told_back = {"error": {"message": f"bad key {key} " + "x" * 500}}
        server.fail(faults.Status(500, body=told_back), "broken", on="everything")
        server.fail(faults.Hang(), "asleep", on="everything")
        done, told = probed(
            tmp_path,
            openai(server, "fine"),
            openai(server, "other"),
            openai(server, "listless"),
            openai(server, "locked", api_key_env="PROBE_KEY"),
            openai(server, "broken", api_key_env="PROBE_KEY"),
            openai(server, "asleep"),
            {"id": "gone", "model": "openai:m", "url": "http://127.0.0.1:9/v1"},
            {"id": "claude", "model": "anthropic:m", "url": server.anthropic_url("claude")},
            {"id": "fox", "model": "scripted:fox"},
        )
        assert server.seen("fine") == []  # which models it serves costs nothing
        assert len(server.seen("broken")) == 1  # no second try
    assert done.exit_code == 1
    assert json.loads(done.stdout)["ok"] is False
    assert {id: ok for id, (ok, _) in told.items()} == {
        "fine": True,
        "other": False,
        "listless": True,
        "locked": False,
        "broken": False,
        "asleep": False,
        "gone": False,
        "claude": True,
        "fox": True,
    }
    assert told["fine"][1] == "serves the model"
    assert told["listless"][1] == told["claude"][1] == "answered"
    assert "something-else" in told["other"][1] or "404" in told["other"][1]
    assert told["locked"][1] == "the key is refused (HTTP 401)"
    assert told["asleep"][1] == "no answer within 2 s"
    assert told["gone"][1].startswith("cannot be reached: ")
    assert "500" in told["broken"][1]
    assert "bad key ***" in told["broken"][1]
    assert len(told["broken"][1]) <= 300
    assert key not in done.output


def test_probe_is_shown_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "endpoints:\n  - {id: a, model: 'scripted:x'}\n"
        "  - {id: b, model: 'openai:m', url: 'http://127.0.0.1:9/v1'}\n"
    )
    pytest.importorskip("langchain_openai")
    done = run("check", str(path), "--probe")
    assert done.exit_code == 1
    assert re.search(r"│ a .* ok answered", done.stdout)
    assert re.search(r"│ b .* failed cannot be reached", done.stdout)
    assert "1 of 2 endpoints did not answer" in done.stdout


def test_everybody_answers_is_exit_code_0(valid: str) -> None:
    done = run("check", valid, "--probe")
    assert done.exit_code == 0
    assert "everybody answered" in done.stdout
