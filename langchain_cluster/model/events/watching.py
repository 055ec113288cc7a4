"""What alerts, reactions and listeners did."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.model.events.event import Event


@dataclass(frozen=True, slots=True)
class ReactionTaken(Event):
    """An alert's rule did something to `subject` by itself; `undone`: it took that back."""

    rule: str
    action: str
    subject: str
    undone: bool = False


@dataclass(frozen=True, slots=True)
class ReactionRefused(Event):
    """An alert's rule would have done something to `subject`, and why it did not."""

    rule: str
    action: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class AlertFailed(Event):
    """A rule raised, or a sink could not take an alert; everything else goes on."""

    part: str
    error: str


@dataclass(frozen=True, slots=True)
class ListenerFailed(Event):
    """A listener raised; the others were still told."""

    listener: str
    error: str
