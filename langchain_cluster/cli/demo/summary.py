"""How a run ended: what was counted, and which of the promises were kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_cluster.cli.demo.board import seconds


@dataclass(slots=True)
class Summary:
    """One run, filled in as it goes. Times are seconds; None for what did not happen."""

    simulated: bool
    calls: int = 0
    answered: int = 0
    failed: int = 0
    attempts: int = 0
    failed_over: int = 0
    cache_hits: int = 0
    output_tokens: int = 0
    p50_seconds: float | None = None
    hit_p50_seconds: float | None = None
    killed: str | None = None
    in_flight_when_killed: int = 0
    opened_after_seconds: float | None = None
    probes: int = 0
    closed_after_seconds: float | None = None
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    promises: dict[str, bool] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(self.promises.values())

    def as_json(self) -> dict[str, Any]:
        """All of it, and whether the promises were kept."""
        return {**asdict(self), "kept": self.kept}

    def draw(self) -> RenderableType:
        """The closing picture."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", justify="right")
        grid.add_column()
        grid.add_row("calls", f"{self.calls} in {self.seconds:.0f} s, {self.output_tokens} tokens answered")
        grid.add_row("answered", f"{self.answered}, {self.cache_hits} of them from the cache")
        grid.add_row("failed", Text(str(self.failed), "bold red" if self.failed else "bold green"))
        grid.add_row("attempts", f"{self.attempts}; {self.failed_over} calls needed more than one")
        grid.add_row(
            "p50", f"{seconds(self.p50_seconds)} asked, {seconds(self.hit_p50_seconds)} from the cache"
        )
        grid.add_row(
            "circuit",
            f"opened {seconds(self.opened_after_seconds)} after kill -9 of {self.killed},"
            f" closed {seconds(self.closed_after_seconds)} after its restart",
        )
        promises = [
            Text.assemble(("  kept    ", "bold green") if kept else ("  BROKEN  ", "bold red"), promise)
            for promise, kept in self.promises.items()
        ]
        errors = [Text(f"  {error}", "red") for error in self.errors[:5]]
        return Panel(Group(grid, "", *promises, *errors), title="summary", title_align="left", expand=False)


NEXT = """Where to go next
   your own chain   ChatOpenAI(...) becomes ClusteredLLM(endpoints=[Endpoint("a", model=ChatOpenAI(...))])
   ten lines        examples/quickstart.py
   this demo        docs/demo.md"""
