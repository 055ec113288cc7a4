"""`audit`: is an audit trail whole, what was asked last, and what does it add up to?"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from langchain_cluster.cli.screen import clean, console, print_json, remark

EPILOG = "Example:\n\nlangchain-cluster audit sum audit.jsonl --by tenant"


class Action(StrEnum):
    """What may be done with a trail."""

    VERIFY = "verify"
    TAIL = "tail"
    SUM = "sum"


def audit(
    action: Annotated[Action, typer.Argument(metavar="verify|tail|sum", help="What to do.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The trail; rotated files beside it are read.")],
    by: Annotated[str, typer.Option(help="For sum: tenant, user, agent, model, endpoint, ...")] = "tenant",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="For tail: how many.")] = 10,
    expect: Annotated[str | None, typer.Option(help="For verify: the last hash, as noted elsewhere.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Verify an audit trail's chain, show its last lines, or add up who asked and what it cost."""
    path = Path(file)
    if action is Action.VERIFY:
        _verify(path, expect, as_json=as_json)
    elif action is Action.TAIL:
        _tail(path, lines, as_json=as_json)
    else:
        _sum(path, by, as_json=as_json)


def _verify(path: Path, expect: str | None, *, as_json: bool) -> None:
    from langchain_cluster.telemetry.trail import verify

    found = verify(path)
    problem = found.problem
    if problem is None and expect is not None and found.last != expect:
        problem = f"it ends with {found.last or 'nothing'}, not with what was expected: lines are missing"
    if as_json:
        print_json({**asdict(found), "problem": problem, "ok": problem is None})
    elif problem is None:
        since = "" if found.first <= 1 else f", from number {found.first} on"
        console().print(f"[green]{found.lines} lines are whole{since}[/]; the last hash is {found.last}")
        if not found.anchored and expect is None:
            remark(f"{path.name}.head is not there: lines that were cut off at an end would not show")
    else:
        console().print(f"[red]broken after {found.lines} lines[/]: {escape(clean(problem))}")
    if problem is not None:
        raise typer.Exit(1)


def _tail(path: Path, lines: int, *, as_json: bool) -> None:
    from langchain_cluster.telemetry.trail import records

    last = list(deque(records(path), maxlen=lines))
    if as_json:
        print_json(last)
        return
    for told in last:
        shown = {name: value for name, value in told.items() if name not in ("hash", "previous")}
        print(clean(json.dumps(shown)))


def _sum(path: Path, by: str, *, as_json: bool) -> None:
    from langchain_cluster.telemetry.trail import sums

    found = sums(path, by)
    if as_json:
        print_json({name: asdict(total) for name, total in found.items()})
        return
    table = Table()
    table.add_column(by)
    for title in ("calls", "failed", "hits", "tokens in", "out", "USD"):
        table.add_column(title, justify="right")
    for name, total in found.items():
        counts = (total.calls, total.failed, total.hits, total.input_tokens, total.output_tokens)
        table.add_row(escape(clean(name)), *map(str, counts), f"{total.cost_usd:.6f}")
    console().print(table)
