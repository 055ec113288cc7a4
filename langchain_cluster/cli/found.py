"""The endpoints of a config that names registries: who is there now, and what is told from then on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.text import Text

from langchain_cluster.admin.shapes import member_shape
from langchain_cluster.cli.screen import one_line
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model import events

PATIENCE = 5.0  # seconds until a registry that has said nothing is said to say nothing
LINES = 10  # of what was told last


class Found:
    """The running cluster of a config; within `with`. Its registries are asked, and no model is.

    Args:
        path: of the config.
        table: draws the lines of endpoints.
        patience: seconds the first roster may take.
        clock: the time of day in seconds, for the lines.
    """

    def __init__(
        self,
        path: str,
        table: Callable[[Any], RenderableType],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table, self._patience, self._clock = table, patience, clock
        self._cluster = ClusteredLLM.from_config(path).cluster
        self._told: deque[str] = deque(maxlen=LINES)
        self.answered = False

    def __enter__(self) -> Self:
        self._leave = self._cluster.events.subscribe(self._hear)
        self._cluster.start()
        self.answered = self._cluster.wait_ready(self._patience)
        if not self.answered:
            self._note(f"no registry has answered for {self._patience:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self._cluster.close()

    def shapes(self) -> list[dict[str, Any]]:
        """Each endpoint, as the admin app tells of it."""
        pool, now = self._cluster.pool, self._cluster.clock.now()
        return [member_shape(m, pool.state(m.endpoint.id), None, now) for m in pool]

    @property
    def told(self) -> list[str]:
        """What was told last, the latest at the end."""
        return list(self._told)

    def drawn(self) -> Group:
        """The table, and below it what was told."""
        return Group(self._table(self.shapes()), *(Text(line, style="dim") for line in self.told))

    def _hear(self, event: events.Event) -> None:
        text = line_of(event)
        if text is not None:
            self._note(text)

    def _note(self, text: str) -> None:
        moment = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        self._told.append(f"{moment}  {one_line(text)}")


def line_of(event: events.Event) -> str | None:
    """What an event says of who is there; None for one about anything else."""
    match event:
        case events.EndpointJoined(endpoint=one):
            return f"{one.id} joined" + (f": {one.url}" if one.url else "")
        case events.EndpointLeft(endpoint=one):
            return f"{one.id} left"
        case events.EndpointUpdated(endpoint=one):
            return f"{one.id} is described anew: weight {one.weight:g}"
        case events.EndpointRejected(endpoint=id, reason=reason):
            return f"{id} is left out: {reason}"
        case events.RosterHeld(endpoints=ids, reason=reason):
            return f"{', '.join(ids)} held back: {reason}"
        case events.RosterReleased(endpoints=ids, reason=reason):
            return f"{', '.join(ids)} no longer held back: {reason}"
        case events.RosterRestored(source=source, endpoints=number):
            return f"{source} has said nothing: {number} endpoints of its last roster"
        case events.DiscoveryFailed(source=source, error=error):
            return f"{source} cannot be read: {error}"
        case events.DiscoveryRecovered(source=source, seconds=seconds):
            return f"{source} can be read again, after {seconds:.1f} s"
        case _:
            return None
