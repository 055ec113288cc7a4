"""What decides is told the time and handed its dice; only adapters know LangChain and OpenTelemetry.

import-linter sees modules. It cannot tell `random.Random`, a seeded generator that somebody hands
in, from `random.random()`, which makes a run impossible to repeat. This reads the syntax trees.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.syntax import PACKAGE, Check, Finding, module_files, report

PURE = ("model", "balancer", "guard", "pool", "routing", "plan")

# The clock, the dice, the network and the libraries.
FORBIDDEN = frozenset(
    {"asyncio", "concurrent", "datetime", "logging", "os", "secrets", "selectors", "socket", "ssl"}
    | {"subprocess", "time", "uuid"}
    | {"consul", "httpx", "langchain", "langchain_core", "langgraph", "openai", "opentelemetry", "redis"}
)
# Module -> the only names that may be taken from it.
PARTLY = {"random": frozenset({"Random"}), "threading": frozenset({"Lock", "RLock"})}
WITH_LOCKS = ("guard", "pool")

KNOW_LANGCHAIN = {
    "llm",
    "embeddings",
    "retriever",
    "steps",
    "warming",
    "faces",
    "agents",
    "endpoints",
    "cache",
    "testing",
    "cli",
} | {
    "errors"  # two of them are a ModelError too, so that nothing above retries what was retried here
}
KNOW_OPENTELEMETRY = {"telemetry", "cli", "testing"}  # the last two set up an exporter to show spans


def imported(tree: ast.Module) -> Iterator[tuple[int, str, str | None]]:
    """Each import as (line, top-level module, the name taken from it or None for the module itself)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0], None
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, node.module.partition(".")[0], alias.name


def impurities(tree: ast.Module) -> Iterator[Finding]:
    for line, module, name in imported(tree):
        if module in FORBIDDEN:
            yield Finding(line, f"a decision must not import {module}")
        elif module in PARTLY and name not in PARTLY[module]:
            names = ", ".join(sorted(PARTLY[module]))
            yield Finding(line, f"a decision may take from {module} only: from {module} import {names}")


def locks(tree: ast.Module) -> Iterator[Finding]:
    for line, module, _ in imported(tree):
        if module == "threading":
            yield Finding(line, f"only {' and '.join(WITH_LOCKS)} keep state that needs a lock")


def knowing(library: str) -> Check:
    def check(tree: ast.Module) -> Iterator[Finding]:
        for line, module, _ in imported(tree):
            if module == library:
                yield Finding(line, f"{library} is known elsewhere only")

    return check


def parts_besides(known: set[str]) -> list[str]:
    parts = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    return sorted(parts - known)


def test_decisions_read_no_clock_throw_no_dice_and_know_no_library() -> None:
    assert report(module_files(*PURE), impurities) == []


def test_only_guards_and_the_pool_take_locks() -> None:
    assert report(module_files(*(set(PURE) - set(WITH_LOCKS))), locks) == []


@pytest.mark.parametrize(
    ("library", "known"), [("langchain_core", KNOW_LANGCHAIN), ("opentelemetry", KNOW_OPENTELEMETRY)]
)
def test_a_library_is_known_in_few_places(library: str, known: set[str]) -> None:
    assert report(module_files(*parts_besides(known)), knowing(library)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "import random",
        "from random import choice",
        "from random import Random, random",
        "import os.path",
        "from datetime import datetime",
        "def pick():\n  import asyncio",
        "from langchain_core.messages import AIMessage",
        "from threading import Thread",
        "import threading",
    ],
)
def test_an_impure_import_is_found(source: str) -> None:
    assert len(list(impurities(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random",
        "from threading import Lock",
        "from collections import deque",
        "from .time import x",
        "from langchain_cluster.model.call import Request",
    ],
)
def test_a_pure_import_passes(source: str) -> None:
    assert list(impurities(ast.parse(source))) == []


def test_a_library_in_the_wrong_place_is_found() -> None:
    tree = ast.parse("from langchain_core.messages import AIMessage\nimport langchain_core_extras")
    assert [finding.line for finding in knowing("langchain_core")(tree)] == [1]
    assert [finding.line for finding in locks(ast.parse("from threading import Lock"))] == [1]
