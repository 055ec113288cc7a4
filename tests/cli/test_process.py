"""Each command as its users run it: a process with pipes, signals and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

COMMAND = [sys.executable, "-m", "langchain_cluster.cli"]


def run(*arguments: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **more},
    )


@pytest.fixture
def fox(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text("endpoints: [{id: a, model: 'scripted:fox'}]\n")
    return path


def test_version() -> None:
    done = run("version", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["python"] == ".".join(map(str, sys.version_info[:3]))


def test_schema() -> None:
    done = run("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"endpoints", "balancer", "policy"} <= set(json.loads(done.stdout)["properties"])


def test_check(fox: Path) -> None:
    done = run("check", str(fox), "--probe", TERM="xterm-256color")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout  # no colour when piped
    fox.write_text("endpoints: [{id: a, model: 'scripted:fox', wieght: 1}]\n")
    done = run("check", str(fox))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {fox}: endpoints.0: unknown key 'wieght'")
    assert done.stderr.endswith("did you mean 'weight'?\n")


def test_chat(fox: Path) -> None:
    done = run("chat", str(fox), typed="hello\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fox, as a\na · 1 attempt · " in done.stdout
    assert run("chat", str(fox), "--once", "hello").stdout == "fox, as a\n"


def test_an_ascii_terminal_is_no_reason_to_fail(fox: Path) -> None:
    done = run("chat", str(fox), typed="hello\n", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "a \\xb7 1 attempt" in done.stdout


def test_ctrl_c_ends_without_a_traceback(fox: Path) -> None:
    fox.write_text("endpoints: [{id: a, model: 'scripted:fox', params: {delay: 30}}]\n")
    with subprocess.Popen(
        [*COMMAND, "chat", str(fox)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline()  # it is up
        process.stdin.write("hello\n")
        process.stdin.flush()
        time.sleep(0.5)  # nothing tells from outside that the question has been asked
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in told


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no', name='typer')\n")
    done = run("version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'error: The command line needs typer, which is not installed: pip install "langchain-cluster[cli]"\n'
    )


def test_ctrl_c_during_the_imports_ends_quietly(tmp_path: Path) -> None:
    folder = tmp_path / "typer"
    folder.mkdir()
    (folder / "__init__.py").write_text("")  # found, and then interrupted
    (tmp_path / "rich.py").write_text("raise KeyboardInterrupt\n")
    done = run("version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
