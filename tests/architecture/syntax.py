"""What the syntax-tree checks share: a finding, and the files of the package."""

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "langchain_cluster"


class Finding(NamedTuple):
    """A line that breaks a rule, and what to write instead."""

    line: int
    text: str


Check = Callable[[ast.Module], Iterator[Finding]]


def module_files(*parts: str) -> list[Path]:
    """The Python files of some parts of the package ("plan", "errors"), or of all of it."""
    if not parts:
        return sorted(PACKAGE.rglob("*.py"))
    return sorted(
        file
        for part in parts
        for file in (*PACKAGE.joinpath(part).rglob("*.py"), PACKAGE / f"{part}.py")
        if file.exists()
    )


def report(files: list[Path], check: Check) -> list[str]:
    """Every finding as `path:line: text`, ready to be compared with an empty list."""
    return [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in files
        for line, text in check(ast.parse(file.read_text(encoding="utf-8")))
    ]


def nodes_that_run_with(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These statements and all they contain, but not the functions they define: those run later."""
    for node in statements:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.GeneratorExp):
            yield node
            yield from nodes_that_run_with(ast.iter_child_nodes(node))
