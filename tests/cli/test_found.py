"""`endpoints` of a config that names registries: who is there, and what happens while one looks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("langchain_openai")

from rich.console import Console
from typer.testing import CliRunner

from langchain_cluster import Endpoint
from langchain_cluster.cli.app import make_app
from langchain_cluster.cli.found import Found, line_of
from langchain_cluster.cli.lines import Lines
from langchain_cluster.model import events

A = Endpoint("a")
ENTRY = '{{id: {id}, url: "http://10.0.0.{n}:8000/v1", model: m}}'


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    path = tmp_path / "pool.yaml"
    write(path, "gpu-1", "gpu-2", bad='{id: bad, url: "http://169.254.169.254"}')
    return path


@pytest.fixture
def config(tmp_path: Path, roster: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        f"discovery: {{kind: file, path: {roster}, poll: 10ms, told: false}}\n"
        "factory: {model: 'openai:{model}', allow: [10.0.0.0/8]}\n"
        "stability: {sweep: 10ms}\n"
    )
    return str(path)


def write(path: Path, *ids: str, bad: str | None = None) -> None:
    lines = [ENTRY.format(id=id, n=n + 1) for n, id in enumerate(ids)] + ([bad] if bad else [])
    fresh = path.with_suffix(".new")
    fresh.write_text("endpoints:\n" + "".join(f"  - {line}\n" for line in lines))
    fresh.replace(path)


def drawn(found: Found) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(found.drawn())
    return captured.get()


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_who_is_there_is_shown_and_who_is_left_out_is_told(config: str) -> None:
    done = CliRunner().invoke(make_app(), ["endpoints", config])
    assert done.exit_code == 0, done.output
    for word in (
        "gpu-1",
        "gpu-2",
        "gpu-1 joined: http://10.0.0.1:8000/v1",
        "bad is left out: its address is",
    ):
        assert word in done.stdout
    told = json.loads(CliRunner().invoke(make_app(), ["endpoints", config, "--json"]).stdout)
    assert [one["id"] for one in told["endpoints"]] == ["gpu-1", "gpu-2"]
    assert len(told["told"]) == 3


def test_what_happens_is_followed(config: str, roster: Path) -> None:
    with Found(config, Lines, clock=lambda: 1_767_225_600.0) as found:
        assert found.answered
        assert "gpu-3" not in drawn(found)
        write(roster, "gpu-1", "gpu-2", "gpu-3")
        until(lambda: "gpu-3 joined" in drawn(found))
        write(roster, "gpu-1", "gpu-3")
        until(lambda: "gpu-2 left" in drawn(found))
        roster.unlink()
        until(lambda: "cannot be read" in drawn(found))
        assert [one["id"] for one in found.shapes()] == ["gpu-1", "gpu-3"]
        assert len(found.told) <= 10


def test_a_registry_that_says_nothing_is_told_and_ends_with_1(config: str, roster: Path) -> None:
    roster.unlink()
    with Found(config, Lines, patience=0.01) as found:
        assert not found.answered
        until(lambda: "cannot be read" in drawn(found))
        assert "no registry has answered for 0.01 s" in drawn(found)


def test_the_exit_code_says_that_no_registry_answered(
    config: str, roster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster.unlink()
    monkeypatch.setattr(Found.__init__, "__kwdefaults__", {"patience": 0.01, "clock": time.time})
    done = CliRunner().invoke(make_app(), ["endpoints", config])
    assert done.exit_code == 1
    assert "no registry has answered" in done.output


def test_acting_on_one_still_needs_a_running_cluster(config: str) -> None:
    done = CliRunner().invoke(make_app(), ["endpoints", config, "drain", "gpu-1"])
    assert done.exit_code == 2
    assert "not a running cluster" in done.output


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.EndpointJoined(0.0, A), "a joined"),
        (
            events.EndpointUpdated(0.0, Endpoint("a", weight=2), Endpoint("a")),
            "a is described anew: weight 2",
        ),
        (events.RosterHeld(0.0, "s", ("a", "b"), "why"), "a, b held back: why"),
        (events.RosterReleased(0.0, "s", ("a",), "why"), "a no longer held back: why"),
        (events.RosterRestored(0.0, "s", 3, 60.0), "s has said nothing: 3 endpoints of its last roster"),
        (events.DiscoveryRecovered(0.0, "s", 2.0), "s can be read again, after 2.0 s"),
        (events.AuditFailed(0.0, "why"), None),
    ],
)
def test_an_event_is_a_line(event: Any, line: str | None) -> None:
    assert line_of(event) == line


def test_it_is_watched_until_it_is_interrupted(config: str, roster: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "langchain_cluster.cli",
        "endpoints",
        config,
        "--watch",
        "--every",
        "0.1",
    ]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            seen = ""
            while '"gpu-2"' not in seen:
                seen += process.stdout.readline()
            write(roster, "gpu-1", "gpu-2", "gpu-3")
            while '"gpu-3"' not in seen:
                seen += process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(30) in (0, 130)
        finally:
            process.kill()
