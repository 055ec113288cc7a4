"""An effect that is built and never asked for does nothing, and no type checker minds.

`Sleep(delay)` on a line of its own is a pause that never happens; `yield Sleep(delay)` happens but
loses the type of the answer. Both must be `yield from Sleep(delay)`.
"""

import ast
from collections.abc import Iterator, Set

import pytest

from langchain_cluster.plan import effects
from tests.architecture.syntax import Finding, module_files, report

EFFECTS = frozenset(
    name
    for name, value in vars(effects).items()
    if isinstance(value, type) and issubclass(value, effects.Effect) and value is not effects.Effect
)


def dropped_effects(tree: ast.Module, names: Set[str] = EFFECTS) -> Iterator[Finding]:
    def built(node: ast.AST | None) -> str | None:
        """The effect's name, for `Sleep(...)`, `effects.Sleep(...)` and `Call[Answer](...)`."""
        if not isinstance(node, ast.Call):
            return None
        target = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        match target:
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="effects"), attr=name):
                return name if name in names else None
        return None

    asked: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.YieldFrom) and built(node.value):
            # An effect made of effects, `yield from FirstOf(Call(a), Sleep(1))`, asks for its parts.
            asked.update(id(part) for part in ast.walk(node.value))
    for node in ast.walk(tree):
        if (name := built(node)) and id(node) not in asked:
            assert isinstance(node, ast.Call)
            yield Finding(
                node.lineno, f"{name}(...) is built but not asked for: write `yield from {name}(...)`"
            )


def test_plans_ask_for_every_effect_they_build() -> None:
    assert report(module_files("plan"), dropped_effects) == []


def test_there_are_effects_to_look_for() -> None:
    assert {"Call", "Sleep"} <= EFFECTS


@pytest.mark.parametrize(
    "line",
    [
        "Sleep(3)",
        "yield Sleep(3)",
        "effects.Sleep(3)",
        "answer = Call[int](attempt)",
        "yield from later(Sleep(3))",
        "return Sleep(3)",
    ],
)
def test_a_dropped_effect_is_found(line: str) -> None:
    tree = ast.parse(f"def plan():\n    {line}\n    yield\n")
    assert [finding.line for finding in dropped_effects(tree, {"Sleep", "Call"})] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "yield from Sleep(3)",
        "answer = yield from effects.Call[int](attempt)",
        "first = yield from FirstOf(Call(a), Sleep(1))",
        "isinstance(effect, Sleep)",
        "other.Sleep(3)",
    ],
)
def test_what_is_asked_for_passes(line: str) -> None:
    tree = ast.parse(f"def plan():\n    {line}\n    yield\n")
    assert list(dropped_effects(tree, {"Sleep", "Call", "FirstOf"})) == []
