"""A generator that yields under a lock keeps it for as long as its caller likes, perhaps for ever.

The same goes for an `await` under a thread's lock: the event loop runs on and the lock stays taken.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.syntax import Finding, module_files, nodes_that_run_with, report

# The name a lock goes by, as a whole word of it: `self._lock`, `lock`, `flight_lock`, `RLock()`,
# `self._condition`. Not `block` and not `clock`.
LOCK = re.compile(r"(?:^|[._])(?:r?lock|mutex|condition|semaphore)(?:$|[^a-z])", re.IGNORECASE)


def yields_under_a_lock(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.With | ast.AsyncWith):
            continue
        if not any(LOCK.search(ast.unparse(item.context_expr)) for item in node.items):
            continue
        for inner in nodes_that_run_with(node.body):
            if isinstance(inner, ast.Yield | ast.YieldFrom):
                yield Finding(inner.lineno, "yields while it holds a lock")
            elif isinstance(inner, ast.Await) and isinstance(node, ast.With):
                yield Finding(inner.lineno, "awaits while it holds a thread's lock")


def test_nothing_yields_while_it_holds_a_lock() -> None:
    assert report(module_files(), yields_under_a_lock) == []


@pytest.mark.parametrize(
    "source",
    [
        "def p(self):\n  with self._lock:\n    yield 1",
        "def p(self):\n  with self._lock:\n    yield from Sleep(1)",
        "def p(lock):\n  with lock:\n    if lock:\n      yield",
        "def p():\n  with open(f), threading.RLock():\n    yield",
        "async def p(self):\n  with self._lock:\n    await sleep(1)",
        "async def p(self):\n  async with self._lock:\n    yield 1",
        "def p(self):\n  with self.flight_lock:\n    yield 1",
        "def p(self):\n  with self._locks[key].lock:\n    yield 1",
    ],
)
def test_a_yield_under_a_lock_is_found(source: str) -> None:
    assert len(list(yields_under_a_lock(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def p(self):\n  with self._lock:\n    x = 1\n  yield x",
        "def p(self):\n  with self._lock:\n    def later():\n      yield 1",
        "def p(clock):\n  with clock.block():\n    yield 1",
        "async def p(self):\n  async with self._lock:\n    await sleep(1)",
        "def p(self):\n  with self.pool.acquire() as lease:\n    yield from Call(lease)",
    ],
)
def test_harmless_code_passes(source: str) -> None:
    assert list(yields_under_a_lock(ast.parse(source))) == []
