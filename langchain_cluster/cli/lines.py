"""A line for each endpoint, as a window has room: in a narrow one less is told, and no number is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from langchain_cluster.cli.screen import clean

COLOURS = {"up": "green", "warming": "yellow", "busy": "yellow", "probing": "yellow", "idle": "dim"}
_ANY_WIDTH = 10_000
_NUMBERS = ("share", "in flight", "served", "failed", "latency", "USD")


class Lines:
    """Endpoints as the admin app describes them, for a terminal."""

    def __init__(self, shapes: Sequence[dict[str, Any]]) -> None:
        self._shapes = shapes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self._table(narrow=False)
        needed = Measurement.get(console, options.update(max_width=_ANY_WIDTH), whole).maximum
        yield whole if needed <= options.max_width else self._table(narrow=True)

    def _table(self, *, narrow: bool) -> Table:
        """A narrow one leaves out what the state says already."""
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True) if narrow else Table()
        made.add_column("endpoint", overflow="fold")
        made.add_column("state", no_wrap=True)
        if not narrow:
            made.add_column("circuit", no_wrap=True)
        for title in _NUMBERS:
            made.add_column(title, justify="right", no_wrap=True)
        if not narrow:
            made.add_column("why not", overflow="fold")
        for one in self._shapes:
            made.add_row(*_cells(one, narrow=narrow))
        return made


def _cells(one: dict[str, Any], *, narrow: bool) -> list[str]:
    colour = COLOURS.get(one["state"], "red")
    named = [escape(clean(one["id"])), f"[{colour}]{escape(one['state'])}[/]"]
    numbers = [
        f"{one['share']:.0%}",
        str(one["in_flight"]),
        str(one["served"]),
        str(one["failed"]),
        f"{one['latency_seconds']:.2f} s" if one["latency_seconds"] else "-",
        f"{one['cost_usd']:.4f}",
    ]
    if narrow:
        return [*named, *numbers]
    return [*named, escape(one["circuit"]), *numbers, escape(clean(one["why_not"] or ""))]
