"""The spans of one call as a tree, from what OpenTelemetry's own exporter collected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from rich.text import Text
from rich.tree import Tree

from langchain_cluster.cli.demo.board import seconds
from langchain_cluster.telemetry import names

SHOWN = {
    names.BALANCER: "balancer",
    names.ATTEMPT_NUMBER: "attempt",
    names.ENDPOINT: "endpoint",
    names.VERDICT: "verdict",
    names.ERROR_TYPE: "error",
    names.CACHE: "cache",
    names.ATTEMPTS: "attempts",
    names.INPUT_TOKENS: "input tokens",
    names.OUTPUT_TOKENS: "output tokens",
}


def telling_trace(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    """The spans of one finished call: one that failed over if there is any, else the last."""
    calls: dict[int, list[ReadableSpan]] = defaultdict(list)
    for span in spans:
        if span.context is not None:
            calls[span.context.trace_id].append(span)
    whole = [call for call in calls.values() if any(span.parent is None for span in call)]
    return max(reversed(whole), key=_tells, default=[])


def _tells(call: list[ReadableSpan]) -> tuple[bool, float]:
    """An attempt that was cut off under way tells more than one that was refused at once."""
    root = next(span for span in call if span.parent is None)
    return not _failed(root), max((_took(span) for span in call if _failed(span)), default=0.0)


def _failed(span: ReadableSpan) -> bool:
    return span.status.status_code is StatusCode.ERROR


def _took(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def tree(call: Sequence[ReadableSpan]) -> Tree:
    """The spans, children under their parents, in the order they began."""
    children: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    for span in sorted(call, key=lambda span: span.start_time or 0):
        children[None if span.parent is None else span.parent.span_id].append(span)
    root = children[None][0]
    drawn = Tree(_label(root), guide_style="dim")
    _grow(drawn, root, children)
    return drawn


def _grow(branch: Tree, span: ReadableSpan, children: dict[int | None, list[ReadableSpan]]) -> None:
    for child in children[span.context.span_id] if span.context is not None else ():
        _grow(branch.add(_label(child)), child, children)


def _label(span: ReadableSpan) -> Text:
    style = "bold red" if _failed(span) else "bold"
    label = Text.assemble((span.name, style), (f"  {seconds(_took(span))}", "cyan"))
    attributes: Mapping[str, Any] = span.attributes or {}
    facts = [f"{word} {attributes[name]}" for name, word in SHOWN.items() if name in attributes]
    return label.append("\n" + ", ".join(facts), "dim")
