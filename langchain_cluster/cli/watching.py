"""Looking again and again, until Ctrl-C: what is seen stays on the screen while nothing answers."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from langchain_cluster.cli.screen import clean, console
from langchain_cluster.errors import ClusterError


def watch(look: Callable[[], RenderableType], every: float) -> None:
    """Draw what `look` gives every so many seconds.

    Raises:
        ClusterError: the first look fails. A later one is told above what was seen last: whoever is
            watched may be starting again.
    """
    seen = look()
    with Live(seen, console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                drawn = seen = look()
            except ClusterError as error:
                drawn = Group(Text(clean(f"as it was last: {error}"), style="yellow"), seen)
            live.update(drawn, refresh=True)
