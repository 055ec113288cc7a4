"""Calls, attempts, cache lookups and waits as OpenTelemetry spans, and where metrics are told of them.

No prompt, answer or credential is in them, unless the standard switch asks for content. While nobody
listens nothing is built: a call costs one look at the global providers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import ref

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, Span, SpanContext, SpanKind

from langchain_cluster.errors import Overloaded
from langchain_cluster.model.call import Attempt, Request
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.events import (
    AttemptEnded,
    BreakerChanged,
    CallDequeued,
    CallQueued,
    CallShed,
    EndpointEjected,
    EndpointLeft,
    Event,
)
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.above import context_of
from langchain_cluster.telemetry.attempt_span import AttemptSpan
from langchain_cluster.telemetry.call_span import CallSpan
from langchain_cluster.telemetry.carry import Carried
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.describe import Described, asked
from langchain_cluster.telemetry.filled import Filled
from langchain_cluster.telemetry.metrics import Metrics
from langchain_cluster.telemetry.opening import Opening
from langchain_cluster.telemetry.scrub import hashed
from langchain_cluster.telemetry.span import NO_HEADERS, OtelSpan

_CALLS = {
    Role.LLM: names.CALL,
    Role.EMBEDDING: names.CALL_EMBEDDINGS,
    Role.RETRIEVAL: names.CALL_RETRIEVAL,
}


class OtelTracing:
    """Opens spans with a tracer provider, and tells metrics of them.

    Args:
        provider: a tracer provider; the global one, whenever it is set, if None.
        metrics: what is told of calls and attempts; None for none.
        content: how messages are written into spans; None as the standard switch says, False for never.
        baggage: keys of the OpenTelemetry baggage that is sent to endpoints; none by default.
        now: seconds on any clock, for the age of cached answers.

    Raises:
        ConfigError: a key of baggage is none.
    """

    def __init__(
        self,
        provider: trace.TracerProvider | None = None,
        *,
        metrics: Metrics | None = None,
        content: Content | bool | None = None,
        baggage: Iterable[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._nothing_configured = "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ
        try:
            release: str | None = version("langchain-cluster")
        except PackageNotFoundError:  # a source tree that was never installed
            release = None
        self._release = release
        self._opening = Opening(trace.get_tracer(names.SCOPE, release, provider))
        self._described, self._carried = Described(), Carried(baggage)
        self.metrics, self.now = metrics, now
        self.content = Content.from_environment() if content is None else _content(content)
        self.filled = Filled()
        self.touched: dict[str, Span] = {}  # of the call whose attempt ended last on an endpoint
        self.calls: dict[int, CallSpan] = {}  # by the identity of their requests
        self._waiting: list[ref[Any]] = []  # clusters, until somebody listens

    def watch(self, cluster: Any) -> None:
        """A cluster whose calls will come here: what happens in it is heard once somebody listens."""
        self._waiting.append(ref(cluster, self._gone))
        if self.metrics is not None:
            self.metrics.gauges.watch(cluster)
            # With a provider of our own the gauges are there before the first call is.
            if self.metrics.listening:
                self.hear()

    def _gone(self, cluster: ref[Any]) -> None:
        if cluster in self._waiting:
            self._waiting.remove(cluster)

    def use(self, provider: trace.TracerProvider) -> None:
        """Open spans with this one from now on."""
        self._provider = provider
        self._opening = Opening(trace.get_tracer(names.SCOPE, self._release, provider))

    def hear(self) -> None:
        """Listen to the clusters that are watched and not listened to yet."""
        if self.listening:
            self._hear()

    def _hear(self) -> None:
        waiting, self._waiting = self._waiting, []
        for known in waiting:
            cluster = known()
            if cluster is None:
                continue

            def heard(event: Event, known: ref[Any] = known) -> None:
                if type(event) is not AttemptEnded:  # its span has told of it
                    self._heard(known(), event)

            cluster.events.subscribe(heard, calls=False)

    def _heard(self, cluster: Any, event: Event) -> None:
        if self.metrics is not None and self.metrics.listening:
            self.metrics.heard(event)
            self.metrics.gauges.heard(cluster, event)
        match event:
            case BreakerChanged(endpoint=endpoint):
                span = self.touched.get(endpoint)
                if span is not None and span.is_recording():
                    told = {
                        names.ENDPOINT: endpoint,
                        names.EVENT_STATE: event.state,
                        names.EVENT_BEFORE: event.before,
                    }
                    span.add_event(names.EVENT_BREAKER, told)
            case CallQueued(request=request):
                call = self.calls.get(id(request))
                if call is not None and not call.ended:
                    call.queue = OtelSpan(self._opening.child(call.span, names.QUEUE))
            case CallDequeued(request=request) | CallShed(request=request):
                call = self.calls.get(id(request))
                if call is not None and call.queue is not None:
                    if isinstance(event, CallDequeued):
                        call.queue.span.set_attribute(names.QUEUE_SECONDS, event.seconds)
                        call.queue.over()
                    else:
                        call.queue.end(Overloaded(event.reason))
                    call.queue = None
            case EndpointLeft(endpoint=left):
                self.touched.pop(left.id, None)
                self._described.forget(left.id)

    def context_of(self, event: Event) -> SpanContext | None:
        """The span of the call in which this happened; None when it happened in none, or that is over."""
        call = self.calls.get(id(getattr(event, "request", None)))
        if call is not None:
            return call.context
        report = getattr(event, "report", event)
        span = self.touched.get(getattr(report, "endpoint", None) or "") if type(event) in _CAUSED else None
        return span.get_span_context() if span is not None and span.is_recording() else None

    @property
    def traced(self) -> bool:
        """Whether a span would be seen by anybody: a processor, or a trace that is under way."""
        provider = self._provider
        if provider is None and self._nothing_configured and getattr(trace, "_TRACER_PROVIDER", self) is None:
            return False  # what `get_tracer_provider` would find out, without its look at the environment
        if self._opening.plain:
            return True
        if provider is None:
            provider = trace.get_tracer_provider()
        if isinstance(provider, _SILENT):
            return False
        # The SDK's provider before anybody has added a processor: its spans would go nowhere.
        processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
        return processors != () or trace.get_current_span().get_span_context().is_valid

    @property
    def listening(self) -> bool:
        """Whether anybody wants spans or metrics."""
        return self.traced or (self.metrics is not None and self.metrics.listening)

    def call(self, request: Request, *, balancer: str, streaming: bool) -> CallSpan | None:
        """A logical call, under the span of its LangChain run, or whatever span is current."""
        metrics = self.metrics
        if metrics is not None and not metrics.listening:
            metrics = None
        if not self.traced:
            if metrics is None:
                return None
            if self._waiting:
                self._hear()
            return CallSpan(INVALID_SPAN, request, self, metrics)
        if self._waiting:
            self._hear()
        attributes: dict[str, Any] = {names.BALANCER: balancer, names.STREAMING: streaming}
        if request.agent is not None:
            attributes[names.AGENT] = request.agent
        if request.tenant is not None:
            attributes[names.TENANT] = hashed(request.tenant)
        if request.tier is not None:
            attributes[names.TIER] = request.tier
        run = getattr(request.payload, "run", None)
        above = None if run is None else context_of(run)
        span = self._opening.span(_CALLS[request.role], above, attributes=attributes)
        call = self.calls[id(request)] = CallSpan(span, request, self, metrics)
        return call

    def attempt(self, attempt: Attempt, parent: Any) -> OtelSpan:
        """One attempt on one endpoint; its headers carry the trace there."""
        _, facts, name = self._described(attempt.endpoint, attempt.request.role)
        if parent.under_way or parent.last is not None:
            self._again(attempt, parent)
        parent.under_way += 1
        parent.attempts += 1
        if not parent.traced:
            return AttemptSpan(INVALID_SPAN, NO_HEADERS, attempt, facts, INVALID_SPAN_CONTEXT, parent, self)
        payload = attempt.request.payload
        attributes = {**facts, names.ATTEMPT_NUMBER: attempt.number}
        arguments = getattr(payload, "arguments", None)
        if arguments:
            attributes |= asked(arguments)
        if self.content is not None:
            messages = self.content.asked(payload)
            if messages is not None:
                attributes[names.INPUT_MESSAGES] = messages
        span = self._opening.child(parent.span, name, SpanKind.CLIENT, attributes)
        context = span.get_span_context()
        return AttemptSpan(span, self._carried.headers(context), attempt, facts, context, parent, self)

    def _again(self, attempt: Attempt, call: CallSpan) -> None:
        """It is not the call's first attempt."""
        endpoint = attempt.endpoint.id
        if call.under_way > 0:
            call.hedged = True
            kind, told = "hedge", {names.ENDPOINT: endpoint}
        else:
            before, verdict = call.last or ("", "")
            kind = "retry" if before == endpoint else "failover"
            told = {names.ENDPOINT: endpoint, names.EVENT_FROM: before, names.VERDICT: verdict}
        call.happened(_AGAIN[kind], told)
        if call.metrics is not None:
            call.metrics.again(kind, endpoint)

    def lookup(self, parent: Any) -> OtelSpan | None:
        """A call's look into the cache; None where only metrics are wanted."""
        if not parent.traced:
            return None
        parent.looked = True
        return OtelSpan(self._opening.child(parent.span, names.LOOKUP))


_CAUSED = frozenset({AttemptEnded, BreakerChanged, EndpointEjected})  # by the call that asked last there
_SILENT = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
_AGAIN = {"hedge": names.EVENT_HEDGE, "retry": names.EVENT_RETRY, "failover": names.EVENT_FAILOVER}


def _content(given: Content | bool) -> Content | None:
    if isinstance(given, Content):
        return given
    return Content() if given else None
