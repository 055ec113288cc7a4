"""The span of one attempt on one endpoint, as the conventions for generative AI want it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span, SpanContext

from langchain_cluster.model.call import Attempt, Outcome, Verdict
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.call_span import CallSpan, Tracing
from langchain_cluster.telemetry.describe import answered
from langchain_cluster.telemetry.span import OtelSpan


class AttemptSpan(OtelSpan):
    """One attempt.

    Args:
        facts: what does not change from attempt to attempt of its endpoint.
        context: of the span.
        call: what it is an attempt of.
    """

    __slots__ = ("_attempt", "_began", "_call", "_context", "_facts", "_tracing")

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
        if type(ended) is not Outcome:
            super()._tell(ended)
            return
        attributes = answered(ended.value)
        attributes[names.VERDICT] = ended.verdict._value_
        if ended.usage is not None:
            attributes[names.INPUT_TOKENS] = ended.usage.input_tokens
            attributes[names.OUTPUT_TOKENS] = ended.usage.output_tokens
        if ended.first_token_seconds is not None:
            attributes[names.FIRST_TOKEN_SECONDS] = ended.first_token_seconds
            at = min(self._began + int(ended.first_token_seconds * 1e9), time.time_ns())
            self.span.add_event(names.EVENT_FIRST_TOKEN, timestamp=at)
        content = self._tracing.content
        if content is not None:
            said = content.said(ended.value)
            if said is not None:
                attributes[names.OUTPUT_MESSAGES] = said
        self.span.set_attributes(attributes)
        if ended.verdict is not Verdict.OK and ended.verdict is not Verdict.ABANDONED:
            status = ended.status
            self._error(str(status) if status is not None else type(ended.error).__name__)
