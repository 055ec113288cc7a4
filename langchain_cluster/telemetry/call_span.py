"""The span of a logical call: what its attempts came to, and what happened between them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.trace import INVALID_SPAN, Span

from langchain_cluster.model.call import Answer, Request
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.filled import Filled
from langchain_cluster.telemetry.metrics import Metrics
from langchain_cluster.telemetry.span import NO_HEADERS, OtelSpan


class Tracing(Protocol):
    """What spans need of whoever opened them."""

    content: Content | None
    filled: Filled
    touched: dict[str, Span]
    calls: dict[int, CallSpan]

    def now(self) -> float:
        """Seconds on any clock."""


class CallSpan(OtelSpan):
    """A logical call, and what has happened in it so far.

    Args:
        metrics: what is told of it; None for none.

    Attributes:
        last: endpoint and verdict of the attempt that ended last.
        under_way: attempts that have begun and not ended.
        queue: the span of its waiting, while it waits.
        context: of its span.
        attempts: how many have begun.
        hedged: whether one of them began beside another.
        looked: whether a cache was asked.
        traced: whether there is one; else only metrics are wanted.
    """

    __slots__ = (
        "_began",
        "_tracing",
        "attempts",
        "context",
        "hedged",
        "last",
        "looked",
        "metrics",
        "queue",
        "request",
        "traced",
        "under_way",
    )

    def __init__(self, span: Span, request: Request, tracing: Tracing, metrics: Metrics | None) -> None:
        # Not by way of `super`: one of them is made in every call.
        self.span, self.headers, self._token, self._ended = span, NO_HEADERS, None, False
        self.request, self._tracing, self.metrics = request, tracing, metrics
        self.context, self.traced = span.get_span_context(), span is not INVALID_SPAN
        self._began = time.perf_counter()
        self.last: tuple[str, str] | None = None
        self.attempts = self.under_way = 0
        self.hedged = self.looked = False
        self.queue: OtelSpan | None = None

    def happened(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Something happened at this moment of the call."""
        if self.traced and not self._ended:
            self.span.add_event(name, attributes)

    def _measure(self, ended: Any) -> None:
        tracing = self._tracing
        if self.traced:
            tracing.calls.pop(id(self.request), None)
        if self.queue is not None:
            self.queue.end(ended if isinstance(ended, Exception) else None)
        filled = None
        if type(ended) is Answer and ended.source != "off" and ended.source != "miss":
            filled = tracing.filled.get(self.request.fingerprint)
            if filled is not None and filled[0].is_valid:
                self.span.add_link(filled[0])
        if self.metrics is not None:
            seconds = time.perf_counter() - self._began
            age = None if filled is None else max(0.0, tracing.now() - filled[1])
            self.metrics.called(self.request.agent, ended, seconds, age, self.context)

    def _tell(self, ended: Any) -> None:
        if type(ended) is not Answer:
            super()._tell(ended)
            known: dict[str, Any] = {names.ATTEMPTS: self.attempts, names.HEDGED: self.hedged}
            if self.attempts:
                known[names.CACHE] = "miss" if self.looked else "off"
            self.span.set_attributes(known)
            return
        attributes: dict[str, Any] = {
            names.CACHE: ended.source,
            names.ATTEMPTS: ended.attempts,
            names.TIER: ended.tier,
            names.HEDGED: ended.hedged,
        }
        if ended.endpoint is not None:
            attributes[names.ENDPOINT] = ended.endpoint
        if ended.cost is not None:
            attributes[names.COST] = ended.cost
        if ended.queue_seconds:
            attributes[names.QUEUE_SECONDS] = ended.queue_seconds
        if ended.degraded is not None:
            attributes[names.DEGRADED] = ended.degraded
        self.span.set_attributes(attributes)
