"""The live table: a line per endpoint, the totals, and the last answers. It only draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from langchain_cluster import ClusteredLLM
from langchain_cluster.cli.demo.tally import Tally, Told
from langchain_cluster.testing.server_process import ServerProcess

ANSWERS = 6  # shown under the table
COLOURS = {
    "closed": "green", "half_open": "yellow", "open": "bold red",
    "running": "green", "loading": "yellow", "killed": "bold red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint now. `server` is the fact, `circuit` what the cluster makes of it."""

    endpoint: str
    server: str
    circuit: str
    in_flight: int
    served: int
    failed: int
    p50: float | None
    tokens_per_second: float


class Board:
    """What there is to see of a cluster and of what was asked of it."""

    def __init__(self, llm: ClusteredLLM, servers: dict[str, ServerProcess], tally: Tally) -> None:
        self._llm, self._servers, self.tally = llm, servers, tally
        self.loading: set[str] = set()

    def rows(self) -> list[Row]:
        """A row per endpoint."""
        return [
            Row(
                name,
                self._server(name),
                state["circuit"],
                state["in_flight"],
                state["served"],
                state["failed"],
                self.tally.p50(name),
                self.tally.tokens_per_second(name),
            )
            for name, state in self._llm.cluster.stats()["endpoints"].items()
        ]

    def _server(self, name: str) -> str:
        if not self._servers[name].alive:
            return "killed"
        return "loading" if name in self.loading else "running"

    def draw(self) -> RenderableType:
        """The table, the totals and the last answers."""
        tally = self.tally
        totals = Text.assemble(
            ("  asked ", "dim"), f"{tally.asked}",
            ("   answered ", "dim"), f"{len(tally.told)}",
            ("   in flight ", "dim"), f"{tally.in_flight}",
            ("   failed ", "dim"), (f"{len(tally.errors)}", "bold red" if tally.errors else "bold green"),
        )  # fmt: skip
        return Group(_table(self.rows()), totals, _answers(tally.told[-ANSWERS:]))

    def line(self) -> str:
        """The same on one line, for where no table can be redrawn."""
        parts = [
            f"{r.endpoint} {r.circuit}{'' if r.server == 'running' else f' ({r.server})'},"
            f" {r.in_flight} in flight, {r.served} served, {r.failed} failed,"
            f" p50 {seconds(r.p50)}, {r.tokens_per_second:.0f} tokens/s"
            for r in self.rows()
        ]
        return " | ".join([*parts, f"failed calls: {len(self.tally.errors)}"])


def seconds(value: float | None) -> str:
    """A duration as people read it."""
    if value is None:
        return "-"
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.3g} ms"


def said(told: Told) -> str:
    """An answer on one line."""
    again = " (failed over)" if told.attempts > 1 else ""
    return f"{told.endpoint} {seconds(told.seconds)}{again}  {told.subject} -> {told.text}"


def _table(rows: Iterable[Row]) -> Table:
    table = Table(header_style="bold", expand=False)
    for column in ("endpoint", "server", "circuit"):
        table.add_column(column, no_wrap=True, min_width=9)
    for column in ("in flight", "served", "failed", "p50", "tokens/s"):
        table.add_column(column, justify="right", no_wrap=True, min_width=8)
    for row in rows:
        table.add_row(
            row.endpoint,
            Text(row.server, COLOURS[row.server]),
            Text(row.circuit.replace("_", " "), COLOURS.get(row.circuit, "")),
            str(row.in_flight),
            str(row.served),
            Text(str(row.failed), "yellow" if row.failed else ""),
            seconds(row.p50),
            f"{row.tokens_per_second:.0f}",
        )
    return table


def _answers(told: Iterable[Told]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="cyan", no_wrap=True, min_width=7)
    grid.add_column(no_wrap=True, min_width=7, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for one in told:
        moved = "failed over  " if one.attempts > 1 else ""
        text = Text.assemble((moved, "yellow"), (f"{one.subject}  ", "dim"), one.text)
        grid.add_row(f"  {one.endpoint}", seconds(one.seconds), text)
    return grid
