"""`endpoints` and `serve-admin`: what they show and do, and what they refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from typer.testing import CliRunner, Result

from langchain_cluster import Endpoint
from langchain_cluster.admin import TOKEN_ENV, create_app
from langchain_cluster.cli.app import make_app
from langchain_cluster.cli.remote import Remote
from langchain_cluster.errors import ClusterError
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.testing import ScriptedModel
from tests.admin.conftest import TOKEN, served

CONFIG = "endpoints: [{id: a, model: 'scripted:fox'}, {id: b/1, model: 'scripted:owl'}]\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def llm(config: str) -> Iterator[ClusteredLLM]:
    made = ClusteredLLM.from_config(config)
    with made.cluster:
        yield made


@pytest.fixture
def url(llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    with served(create_app(llm)) as port:
        yield f"http://127.0.0.1:{port}"


def test_the_endpoints_of_a_config_are_shown(config: str) -> None:
    done = run("endpoints", config)
    assert done.exit_code == 0
    assert re.search(r"a\s+│ up\s+│ closed", done.stdout)
    assert [e["id"] for e in json.loads(run("endpoints", config, "--json").stdout)["endpoints"]] == [
        "a",
        "b/1",
    ]


def test_the_endpoints_of_a_running_cluster_are_shown(url: str, llm: ClusteredLLM) -> None:
    llm.invoke("hello")
    told = json.loads(run("endpoints", url, "--json").stdout)["endpoints"]
    assert sum(e["served"] for e in told) == 1


def test_an_operator_acts_on_one(url: str, llm: ClusteredLLM) -> None:
    done = run("endpoints", url, "drain", "b/1", "--migrate")
    assert done.exit_code == 0, done.output
    assert "draining" in done.stdout
    assert llm.cluster.pool.state("b/1").value == "draining"
    assert json.loads(run("endpoints", url, "recover", "b/1", "--json").stdout)["done"] == "recover"
    for action, state in (
        ("force-open", "forced_open"),
        ("reset", "up"),
        ("force-close", "up"),
        ("undrain", "up"),
        ("metrics-only", "up"),
        ("disable-breaker", "up"),
        ("enable-breaker", "up"),
    ):
        assert run("endpoints", url, action, "a").exit_code == 0
        assert llm.cluster.pool.state("a").value == state


def test_every_action_of_the_admin_app_can_be_done_from_here() -> None:
    from langchain_cluster.admin.writes import ACTIONS, OF_ALL
    from langchain_cluster.cli.endpoints import Action

    of_caches = {name for name in OF_ALL if name.startswith("cache/")}  # `langchain-cluster cache`
    assert {action.value for action in Action} == set(ACTIONS) | (set(OF_ALL) - of_caches)


def test_an_operator_acts_on_all_of_them(url: str, llm: ClusteredLLM) -> None:
    done = run("endpoints", url, "rebalance", "--json")
    assert (done.exit_code, json.loads(done.stdout)["done"]) == (0, "rebalance"), done.output
    llm.cluster.pool.replace(
        [Endpoint(id, model=ScriptedModel("x"), priority=level) for level, id in enumerate(("a", "s"))]
    )
    assert "s " in run("endpoints", url, "promote", "1").stdout
    assert llm.cluster.pool.state("s").value == "up"
    assert json.loads(run("endpoints", url, "demote", "1", "--json").stdout)["changed"] is True


def test_without_the_token_it_is_refused(
    url: str, llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "wrong")
    done = run("endpoints", url, "drain", "a", "--token-env", "OTHER")
    assert done.exit_code == 1
    assert "a valid token is needed" in done.output
    assert llm.cluster.pool.state("a").value == "up"


def test_an_unknown_endpoint_is_one_line(url: str) -> None:
    done = run("endpoints", url, "drain", "nobody")
    assert (done.exit_code, "no such endpoint (HTTP 404)" in done.output) == (1, True)


def test_nobody_at_the_address_is_one_line() -> None:
    done = run("endpoints", "http://127.0.0.1:1")
    assert done.exit_code == 1
    assert "cannot be reached" in done.output


WRONG = [
    (["http://127.0.0.1:1", "drain"], "which endpoint"),
    (["http://127.0.0.1:1", "reset", "a", "--migrate"], "is for drain"),
    (["http://user:hush@127.0.0.1:1"], "an address alone"),
    (["http://127.0.0.1:1?token=hush"], "an address alone"),
    (["CONFIG", "drain", "a"], "not a running cluster"),
    (["CONFIG", "--watch"], "not a running cluster"),
    (["http://127.0.0.1:1", "demote"], "which level"),
    (["http://127.0.0.1:1", "promote", "x"], "is no level"),
    (["http://127.0.0.1:1", "rebalance", "a"], "for all of them"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG)
def test_wrong_use_says_why(config: str, arguments: list[str], why: str) -> None:
    done = run("endpoints", *[config if word == "CONFIG" else word for word in arguments])
    assert done.exit_code == 2
    assert why in done.output
    assert "hush" not in done.output


def test_what_is_no_admin_app_is_one_line(config: str) -> None:
    from langchain_cluster.testing import SimulatedServer

    with SimulatedServer() as server:
        assert run("endpoints", server.url).exit_code == 1


def test_it_looks_again_until_it_is_interrupted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("langchain_cluster.cli.endpoints.time.sleep", sleep)
    assert run("endpoints", url, "--watch", "--every", "5").exit_code == 130
    assert looks == [5.0] * 3
    looks.clear()
    assert run("endpoints", url, "--watch", "--json").stdout.count('"endpoints"') == 3


def test_the_whole_cluster_at_a_glance(url: str, llm: ClusteredLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    llm.invoke("hello")
    done = run("top", url, "--once")
    assert done.exit_code == 0, done.output
    assert "1 calls, 0 in flight, 0 failed" in done.stdout
    assert "b/1" in done.stdout
    assert json.loads(run("top", url, "--json").stdout)["stats"]["calls"] == 1
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("langchain_cluster.cli.top.time.sleep", sleep)
    assert run("top", url, "--every", "7").exit_code == 130
    assert looks == [7.0] * 2


@pytest.mark.parametrize("command", [["top"], ["endpoints", "--watch"]])
def test_who_does_not_answer_for_a_while_is_looked_at_further(
    url: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    get = Remote.get

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    def restarting(remote: Remote, path: str) -> Any:
        if len(looks) == 1:
            raise ClusterError("it cannot be reached")
        return get(remote, path)

    monkeypatch.setattr("langchain_cluster.cli.watching.time.sleep", sleep)
    monkeypatch.setattr(Remote, "get", restarting)
    done = run(command[0], url, *command[1:])
    assert done.exit_code == 130
    assert len(looks) == 3
    looks[1:] = []
    assert run(command[0], url, *command[1:]).exit_code == 1, "who never answered is an error"


def test_a_cluster_of_this_process_at_a_glance(llm: ClusteredLLM) -> None:
    from io import StringIO

    from rich.console import Console

    from langchain_cluster.cli.top import shown

    told = StringIO()
    before = set(threading.enumerate())
    with shown(llm, every=0.001, to=Console(file=told, width=160, force_terminal=True)):
        assert "0 calls" in told.getvalue()
        llm.invoke("hello")
        while "1 calls, 0 in flight" not in told.getvalue():
            time.sleep(0.001)
    assert "b/1" in told.getvalue()
    drawing = [t for t in set(threading.enumerate()) - before if t.name == "langchain-cluster-top"]
    assert drawing == [], "the thread ends with the block"
    with pytest.raises(ZeroDivisionError), shown(llm.cluster, to=Console(file=StringIO())):
        raise ZeroDivisionError


def test_a_narrow_window_cuts_no_number() -> None:
    from io import StringIO

    from rich.console import Console

    from langchain_cluster.cli.lines import Lines

    one: dict[str, object] = {"id": "gpu-1.eu-west-1", "state": "forced_open", "why_not": "forced open"}
    one |= {"circuit": "forced_open", "share": 0.25, "in_flight": 12, "served": 123456, "failed": 4321}
    one |= {"latency_seconds": 12.34, "cost_usd": 123.4567}
    for width, whole in ((80, False), (200, True)):
        told = StringIO()
        Console(file=told, width=width).print(Lines([one]))
        for number in ("25%", "12", "123456", "4321", "12.34 s", "123.4567"):
            assert number in told.getvalue()
        assert ("forced open" in told.getvalue()) is whole
        assert "\u2026" not in told.getvalue()


def test_serving_elsewhere_needs_a_token(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_ENV, raising=False)
    for host in ("0.0.0.0", "::", "ops.example"):
        done = run("serve-admin", config, "--host", host)
        assert done.exit_code == 2
        assert f"set {TOKEN_ENV} first" in done.output


def test_a_missing_library_is_named(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run("serve-admin", config)
    assert done.exit_code == 2
    assert 'langchain-cluster[admin]"' in done.output


def test_it_serves_until_it_is_interrupted(config: str) -> None:
    command = [sys.executable, "-m", "langchain_cluster.cli", "serve-admin", config, "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_ENV}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as serving:
        assert serving.stderr is not None
        assert "nothing changed" in serving.stderr.readline()
        url = serving.stderr.readline().strip()
        try:
            assert run("endpoints", url).exit_code == 0
            assert run("endpoints", url, "drain", "a").exit_code == 1
            looking = urllib.request.urlopen(f"{url}events", timeout=30)
            assert looking.readline().startswith(b"retry")
        finally:
            serving.send_signal(signal.SIGINT)
            left = serving.stderr.read()
        assert serving.wait(30) in (0, 130)
        assert "Traceback" not in left
