"""The span of one attempt on one endpoint, as the conventions for generative AI want it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span, SpanContext

from langchain_cluster.model.call import Attempt, Outcome, Verdict
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.call_span import CallSpan, Tracing
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.describe import answered, streamed
from langchain_cluster.telemetry.span import OtelSpan


class AttemptSpan(OtelSpan):
    """One attempt.

    Args:
        facts: what does not change from attempt to attempt of its endpoint.
        context: of the span.
        call: what it is an attempt of.
    """

    __slots__ = ("_attempt", "_began", "_call", "_context", "_facts", "_stream", "_tracing")

    def __init__(
        self,
        span: Span,
        headers: Mapping[str, str],
        attempt: Attempt,
        facts: dict[str, Any],
        context: SpanContext,
        call: CallSpan,
        tracing: Tracing,
    ) -> None:
        # Not by way of `super`: two of them are made in every call.
        self.span, self.headers, self._token, self._ended = span, headers, None, False
        self._attempt, self._facts, self._context = attempt, facts, context
        self._call, self._tracing = call, tracing
        self._began = time.time_ns()
        self._stream: Any = None

    def streams(self, stream: Any) -> None:
        """What is answered comes in chunks, and `stream` knows which."""
        self._stream = stream

    def _measure(self, ended: Any) -> None:
        outcome = ended if type(ended) is Outcome else None
        endpoint, call, tracing = self._attempt.endpoint, self._call, self._tracing
        call.under_way -= 1
        verdict = Verdict.ABANDONED if outcome is None else outcome.verdict
        call.last = (endpoint.id, verdict._value_)
        if call.traced:
            tracing.touched[endpoint.id] = call.span
        if outcome is not None and verdict is Verdict.OK and outcome.storable:
            fingerprint = call.request.fingerprint
            if fingerprint is not None:
                tracing.filled.put(fingerprint, self._context, tracing.now())
        if call.metrics is not None:
            call.metrics.attempted(endpoint, self._facts, outcome, self._context)

    def _tell(self, ended: Any) -> None:
        stream, outcome = self._stream, ended if type(ended) is Outcome else None
        attributes: dict[str, Any] = {}
        usage = first = None
        if stream is not None:  # also of one that was left something is known
            heard = stream.heard()
            attributes, usage, first = streamed(heard.chunks), heard.usage, heard.first_token_seconds
        elif outcome is not None:
            attributes, usage, first = answered(outcome.value), outcome.usage, outcome.first_token_seconds
        if usage is not None:
            attributes[names.INPUT_TOKENS] = usage.input_tokens
            attributes[names.OUTPUT_TOKENS] = usage.output_tokens
        if first is not None:
            attributes[names.FIRST_TOKEN_SECONDS] = first
            at = min(self._began + int(first * 1e9), time.time_ns())
            self.span.add_event(names.EVENT_FIRST_TOKEN, timestamp=at)
        if outcome is None:
            super()._tell(ended)
        else:
            attributes[names.VERDICT] = outcome.verdict._value_
            if outcome.verdict is not Verdict.OK and outcome.verdict is not Verdict.ABANDONED:
                status = outcome.status
                self._error(str(status) if status is not None else type(outcome.error).__name__)
        self.span.set_attributes(attributes)
        if self._tracing.content is not None:
            self._show(self._tracing.content, outcome, attributes.get(names.FINISH_REASONS))

    def _show(self, content: Content, outcome: Outcome | None, reasons: Any) -> None:
        if self._stream is not None:
            said = content.wrote([self._stream.partial()], reasons[0] if reasons else None)
        else:
            said = None if outcome is None else content.said(outcome.value)
        if said is not None:
            self.span.set_attribute(names.OUTPUT_MESSAGES, said)
