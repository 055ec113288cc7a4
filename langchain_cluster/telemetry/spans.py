"""Calls, attempts and cache lookups as OpenTelemetry spans. No prompt, answer or credential is in them.

While no tracer provider is set nothing is built: a call costs one look at the global provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from langchain_cluster.model.call import Answer, Attempt, Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Role
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.describe import describe

_PROPAGATOR = TraceContextTextMapPropagator()
_CALLS = {
    Role.LLM: names.CALL,
    Role.EMBEDDING: names.CALL_EMBEDDINGS,
    Role.RETRIEVAL: names.CALL_RETRIEVAL,
}
_ATTEMPTS = {
    Role.LLM: names.ATTEMPT,
    Role.EMBEDDING: names.ATTEMPT_EMBEDDINGS,
    Role.RETRIEVAL: names.ATTEMPT_RETRIEVAL,
}


class OtelSpan:
    """One span. Entering it makes it current for a step; `end` ends it, once."""

    __slots__ = ("_ended", "_token", "headers", "span")

    def __init__(self, span: Span, headers: Mapping[str, str] | None = None) -> None:
        self.span, self.headers = span, headers or {}
        self._token: Any = None
        self._ended = False

    def __enter__(self) -> OtelSpan:
        self._token = otel_context.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(self, *details: Any) -> None:
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None

    def end(self, ended: Outcome | Answer | BaseException | str | None) -> None:
        """It is over: with an outcome, an answer, an error, a cache layer; None or an exit for abandoned."""
        if self._ended:
            return
        self._ended = True
        if self.span.is_recording():
            match ended:
                case Outcome():
                    self._outcome(ended)
                case Answer():
                    self._answer(ended)
                case Exception():
                    self._error(type(ended).__name__)
                    attempts = getattr(ended, "attempts", None)
                    if attempts is not None:
                        self.span.set_attribute(names.ATTEMPTS, len(attempts))
                case str():
                    self.span.set_attribute(names.CACHE, ended)
                case BaseException() | None:  # cancelled, closed, interrupted: nobody's fault
                    self.span.set_attribute(names.VERDICT, Verdict.ABANDONED.value)
        self.span.end()

    def _error(self, kind: str) -> None:
        # The error's text may quote the prompt: its kind is enough here.
        self.span.set_attribute(names.ERROR_TYPE, kind)
        self.span.set_status(Status(StatusCode.ERROR, kind))

    def _outcome(self, outcome: Outcome) -> None:
        attributes: dict[str, Any] = {names.VERDICT: outcome.verdict.value}
        if outcome.usage is not None:
            attributes[names.INPUT_TOKENS] = outcome.usage.input_tokens
            attributes[names.OUTPUT_TOKENS] = outcome.usage.output_tokens
        if outcome.first_token_seconds is not None:
            attributes[names.FIRST_TOKEN_SECONDS] = outcome.first_token_seconds
        self.span.set_attributes(attributes)
        if outcome.verdict is not Verdict.OK and outcome.verdict is not Verdict.ABANDONED:
            status = outcome.status
            self._error(str(status) if status is not None else type(outcome.error).__name__)

    def _answer(self, answer: Answer) -> None:
        attributes: dict[str, Any] = {
            names.CACHE: answer.source,
            names.ATTEMPTS: answer.attempts,
            names.TIER: answer.tier,
            names.HEDGED: answer.hedged,
        }
        if answer.endpoint is not None:
            attributes[names.ENDPOINT] = answer.endpoint
        if answer.cost is not None:
            attributes[names.COST] = answer.cost
        self.span.set_attributes(attributes)


class OtelTracing:
    """Opens spans with a tracer provider.

    Args:
        provider: a tracer provider; the global one, whenever it is set, if None.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._provider = provider
        self._nothing_configured = "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ
        try:
            release = version("langchain-cluster")
        except PackageNotFoundError:  # a source tree that was never installed
            release = None
        self._tracer = trace.get_tracer(names.SCOPE, release, provider)
        self._described: dict[str, tuple[Any, dict[str, Any]]] = {}

    @property
    def listening(self) -> bool:
        """Whether a span would be seen by anybody: a processor, or a trace that is under way."""
        provider = self._provider
        if provider is None:
            if self._nothing_configured and getattr(trace, "_TRACER_PROVIDER", self) is None:
                return False  # what `get_tracer_provider` would find out, without its look at the environment
            provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            return False
        # The SDK's provider before anybody has added a processor: its spans would go nowhere.
        processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
        return processors != () or trace.get_current_span().get_span_context().is_valid

    def call(self, request: Request, *, balancer: str, streaming: bool) -> OtelSpan | None:
        """A logical call, under whatever span is current."""
        if not self.listening:
            return None
        attributes: dict[str, Any] = {names.BALANCER: balancer, names.STREAMING: streaming}
        if request.agent is not None:
            attributes[names.AGENT] = request.agent
        if request.tenant is not None:
            attributes[names.TENANT] = sha256(request.tenant.encode()).hexdigest()[:12]
        return OtelSpan(self._tracer.start_span(_CALLS[request.role], attributes=attributes))

    def attempt(self, attempt: Attempt, parent: Any) -> OtelSpan:
        """One attempt on one endpoint; its headers carry the trace there."""
        attributes = self._describe(attempt)
        operation = attributes[names.OPERATION] = _ATTEMPTS[attempt.request.role]
        attributes[names.ATTEMPT_NUMBER] = attempt.number
        model = attributes.get(names.REQUEST_MODEL)
        span = self._tracer.start_span(
            f"{operation} {model}" if model else operation,
            context=_under(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
        )
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, context=trace.set_span_in_context(span))
        return OtelSpan(span, headers)

    def lookup(self, parent: Any) -> OtelSpan:
        """A call's look into the cache."""
        return OtelSpan(self._tracer.start_span(names.LOOKUP, context=_under(parent)))

    def _describe(self, attempt: Attempt) -> dict[str, Any]:
        endpoint = attempt.endpoint
        known = self._described.get(endpoint.id)
        if known is None or known[0] is not endpoint:
            known = self._described[endpoint.id] = (endpoint, describe(endpoint))
        return dict(known[1])


def _under(parent: Any) -> Any:
    return None if parent is None else trace.set_span_in_context(parent.span)
