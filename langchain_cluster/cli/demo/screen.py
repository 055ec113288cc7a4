"""Where the demo is shown: a terminal with a table that is redrawn, or plain lines where there is none."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from langchain_cluster.cli.demo.board import Board, said
from langchain_cluster.cli.demo.tally import Told

REDRAW = 0.2  # seconds between two pictures on a terminal
REPORT = 2.0  # seconds between two lines elsewhere
PICTURE_WIDTH = 104  # characters


class Screen:
    """One console, and a second one for the picture if there is to be one."""

    def __init__(self, console: Console, *, picture: bool = False) -> None:
        self.console = console
        self.redraws = console.is_terminal and not console.is_dumb_terminal
        self._picture = (
            Console(
                record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True,
                color_system="truecolor", highlight=False,
            )
            if picture
            else None
        )  # fmt: skip
        self._board: Board | None = None
        self._live: Live | None = None
        self._last_line = 0.0

    def act(self, text: str) -> None:
        """Announce what comes next."""
        self.show(Text(text, "bold"), above=True)

    def say(self, text: str) -> None:
        """A line about what is seen."""
        self.show(Text(f"   {text}"))

    def show(self, what: RenderableType, *, above: bool = False) -> None:
        """Print something. above: with an empty line before it."""
        for console in (self.console, self._picture):
            if console is not None:
                if above:
                    console.print()
                # Lines are left whole where no terminal sets a width: a log is searched.
                whole = isinstance(what, Text) and not console.is_terminal
                console.print(what, soft_wrap=whole)

    def heard(self, told: Told) -> None:
        """An answer came in. The table shows it; without one, a line now and then does."""
        if not self.redraws and monotonic() - self._last_line >= REPORT / 2:
            self._last_line = monotonic()
            self.console.print(Text(f"   {said(told)}"), soft_wrap=True)

    @contextmanager
    def watching(self, board: Board) -> Iterator[None]:
        """Keep the table on the screen while the block runs; `redrawing` draws it."""
        self._board = board
        if not self.redraws:
            yield
            return
        # Drawn by our own task: a thread would read the counts while they change.
        with Live(board.draw(), console=self.console, auto_refresh=False) as self._live:
            try:
                yield
                self._live.update(board.draw(), refresh=True)
            finally:
                self._live = None

    async def redrawing(self) -> None:
        """Draw the table again and again, until cancelled."""
        assert self._board is not None
        while True:
            if self._live is not None:
                self._live.update(self._board.draw(), refresh=True)
                await asyncio.sleep(REDRAW)
            else:
                await asyncio.sleep(REPORT)
                self.console.print(Text(f"   {self._board.line()}"), soft_wrap=True)

    def photograph(self) -> None:
        """Put the table as it is now into the picture."""
        if self._picture is not None and self._board is not None:
            self._picture.print(self._board.draw())

    def save(self, path: Path) -> None:
        """Write the picture. Raises OSError."""
        if self._picture is not None:
            from langchain_cluster.cli.demo.picture import write

            write(self._picture, path)
