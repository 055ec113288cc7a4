"""A pool with alerts: time by hand, and everything that was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_cluster.model.alert import Alert
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import Event, ReactionRefused, ReactionTaken
from langchain_cluster.telemetry.alerts import Alerts, Watch
from tests.pool.watched import Watched


class Alarmed(Watched):
    """`after(seconds)` looks once a second and gives the notices."""

    def __init__(self, rules: Any, *endpoints: str | Endpoint, **options: Any) -> None:
        super().__init__(*endpoints, **options)
        self.pool._emit = self.hear
        rules = rules if isinstance(rules, Sequence) else [rules]
        self.watch = Watch(Alerts(rules, sinks=[]), self.pool, self.clock.now, self.hear)

    def hear(self, event: Event) -> None:
        self.events.append(event)
        self.watch.listen(event)

    def after(self, seconds: int) -> list[Alert]:
        notices: list[Alert] = []
        for _ in range(seconds):
            self.clock.advance(1.0)
            notices += self.watch.look()
        return notices

    def status(self, id: str) -> str:
        return self[id].status.value

    def said(self, seconds: int) -> list[tuple[str, str, str]]:
        return [(a.state, a.level.value, a.subject) for a in self.after(seconds)]

    def did(self) -> list[str]:
        """Reactions since the last time, `-` before those taken back, `!` before those refused."""
        told = []
        for event in self.events:
            if isinstance(event, ReactionTaken):
                told.append(f"{'-' if event.undone else ''}{event.action} {event.subject}")
            elif isinstance(event, ReactionRefused):
                told.append(f"!{event.action} {event.subject}")
        self.events.clear()
        return told
