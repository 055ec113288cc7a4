"""Calls, attempts, cache lookups and waits as OpenTelemetry spans, and where metrics are told of them.

No prompt, answer or credential is in them, unless the standard switch asks for content. While nobody
listens nothing is built: a call costs one look at the global providers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakSet, ref

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, SpanKind, Status, StatusCode

from langchain_cluster.errors import Overloaded
from langchain_cluster.model.call import Answer, Attempt, Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.events import BreakerChanged, CallDequeued, CallQueued, CallShed, Event
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.describe import answered, asked, describe
from langchain_cluster.telemetry.filled import Filled
from langchain_cluster.telemetry.metrics import Metrics

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

    __slots__ = ("__weakref__", "_ended", "_token", "headers", "span")

    def __init__(self, span: Span, headers: Mapping[str, str] | None = None) -> None:
        self.span, self.headers = span, headers or {}
        self._token: Any = None
        self._ended = False

    def __enter__(self) -> OtelSpan:
        if self.span is not INVALID_SPAN:  # only metrics are wanted: what is current stays so
            self._token = otel_context.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(self, *details: Any) -> None:
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended

    def end(self, ended: Outcome | Answer | BaseException | str | None) -> None:
        """It is over: with an outcome, an answer, an error, a cache layer; None or an exit for abandoned."""
        if self._ended:
            return
        self._ended = True
        try:
            self._measure(ended)
            if self.span.is_recording():
                self._tell(ended)
        except Exception:
            pass  # whatever telemetry stumbles over, the call goes on, and its span is ended
        self.span.end()

    def over(self) -> None:
        """It is over, and all is said."""
        if not self._ended:
            self._ended = True
            self.span.end()

    def _measure(self, ended: Any) -> None:
        """Tell the metrics, where they are wanted."""

    def _tell(self, ended: Any) -> None:
        match ended:
            case Exception():
                self._error(type(ended).__name__)
            case str():
                self.span.set_attribute(names.CACHE, ended)
            case _:  # cancelled, closed, interrupted: nobody's fault
                self.span.set_attribute(names.VERDICT, Verdict.ABANDONED.value)

    def _error(self, kind: str) -> None:
        # The error's text may quote the prompt: its kind is enough here.
        self.span.set_attribute(names.ERROR_TYPE, kind)
        self.span.set_status(Status(StatusCode.ERROR, kind))


class CallSpan(OtelSpan):
    """A logical call, and what has happened in it so far.

    Attributes:
        last: endpoint and verdict of the attempt that ended last.
        under_way: attempts that have begun and not ended.
        queue: the span of its waiting, while it waits.
    """

    __slots__ = ("_began", "_tracing", "last", "queue", "request", "under_way")

    def __init__(self, span: Span, request: Request, tracing: OtelTracing) -> None:
        super().__init__(span)
        self.request, self._tracing = request, tracing
        self._began = time.perf_counter()
        self.last: tuple[str, str] | None = None
        self.under_way = 0
        self.queue: OtelSpan | None = None

    def happened(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Something happened at this moment of the call."""
        if not self._ended:
            self.span.add_event(name, attributes)

    def _measure(self, ended: Any) -> None:
        tracing = self._tracing
        tracing.forget(self.request)
        if self.queue is not None:
            self.queue.end(ended if isinstance(ended, Exception) else None)
        filled = None
        if isinstance(ended, Answer) and ended.source not in ("miss", "off"):
            filled = tracing.filled.get(self.request.fingerprint)
        if filled is not None and filled[0].is_valid:
            self.span.add_link(filled[0])
        metrics = tracing.metrics
        if metrics is not None and metrics.listening:
            seconds = time.perf_counter() - self._began
            age = None if filled is None else max(0.0, tracing.now() - filled[1])
            metrics.called(self.request, ended, seconds, age, self.span.get_span_context())

    def _tell(self, ended: Any) -> None:
        if not isinstance(ended, Answer):
            super()._tell(ended)
            attempts = getattr(ended, "attempts", None)
            if isinstance(ended, Exception) and attempts is not None:
                self.span.set_attribute(names.ATTEMPTS, len(attempts))
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
        if ended.degraded is not None:
            attributes[names.DEGRADED] = ended.degraded
        self.span.set_attributes(attributes)


class AttemptSpan(OtelSpan):
    """One attempt on one endpoint."""

    __slots__ = ("_attempt", "_began", "_call", "_facts", "_tracing")

    def __init__(
        self,
        span: Span,
        headers: Mapping[str, str],
        attempt: Attempt,
        facts: dict[str, Any],
        call: CallSpan,
        tracing: OtelTracing,
    ) -> None:
        super().__init__(span, headers)
        self._attempt, self._facts, self._call, self._tracing = attempt, facts, call, tracing
        self._began = time.time_ns()

    def _measure(self, ended: Any) -> None:
        outcome = ended if isinstance(ended, Outcome) else None
        endpoint, call, tracing = self._attempt.endpoint, self._call, self._tracing
        call.under_way -= 1
        verdict = Verdict.ABANDONED if outcome is None else outcome.verdict
        call.last = (endpoint.id, verdict.value)
        tracing.touched[endpoint.id] = ref(call)
        context = self.span.get_span_context()
        fingerprint = call.request.fingerprint
        if outcome is not None and verdict is Verdict.OK and outcome.storable and fingerprint is not None:
            tracing.filled.put(fingerprint, context, tracing.now())
        if tracing.metrics is not None and tracing.metrics.listening:
            tracing.metrics.attempted(endpoint, self._facts, outcome, context)

    def _tell(self, ended: Any) -> None:
        if not isinstance(ended, Outcome):
            super()._tell(ended)
            return
        attributes: dict[str, Any] = {names.VERDICT: ended.verdict.value, **answered(ended.value)}
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


class OtelTracing:
    """Opens spans with a tracer provider, and tells metrics of them.

    Args:
        provider: a tracer provider; the global one, whenever it is set, if None.
        metrics: what is told of calls and attempts; None for none.
        content: how messages are written into spans; None as the standard switch says, False for never.
        now: seconds on any clock, for the age of cached answers.
    """

    def __init__(
        self,
        provider: trace.TracerProvider | None = None,
        *,
        metrics: Metrics | None = None,
        content: Content | bool | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._nothing_configured = "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ
        try:
            release: str | None = version("langchain-cluster")
        except PackageNotFoundError:  # a source tree that was never installed
            release = None
        self._release = release
        self._tracer = trace.get_tracer(names.SCOPE, release, provider)
        self._described: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.metrics, self.now = metrics, now
        self.content = Content.from_environment() if content is None else _content(content)
        self.filled = Filled()
        self.touched: dict[str, ref[CallSpan]] = {}  # the call whose attempt ended last on an endpoint
        self._calls: dict[int, CallSpan] = {}  # by the identity of their requests
        self._waiting: WeakSet[Any] = WeakSet()  # clusters, until somebody listens

    def watch(self, cluster: Any) -> None:
        """A cluster whose calls will come here: what happens in it is heard once somebody listens."""
        self._waiting.add(cluster)
        if self.metrics is not None:
            self.metrics.gauges.watch(cluster)
            # With a provider of our own the gauges are there before the first call is.
            if self.metrics.listening:
                self.hear()

    def use(self, provider: trace.TracerProvider) -> None:
        """Open spans with this one from now on."""
        self._provider = provider
        self._tracer = trace.get_tracer(names.SCOPE, self._release, provider)

    def hear(self) -> None:
        """Listen to the clusters that are watched and not listened to yet."""
        if self.listening:
            self._hear()

    def _hear(self) -> None:
        waiting, self._waiting = list(self._waiting), WeakSet()
        for cluster in waiting:
            known = ref(cluster)
            cluster.events.subscribe(lambda event, known=known: self._heard(known(), event))

    def _heard(self, cluster: Any, event: Event) -> None:
        if self.metrics is not None and self.metrics.listening:
            self.metrics.heard(event)
            self.metrics.gauges.heard(cluster, event)
        match event:
            case BreakerChanged(endpoint=endpoint):
                touched = self.touched.get(endpoint)
                call = None if touched is None else touched()
                if call is not None:
                    told = {
                        names.ENDPOINT: endpoint,
                        names.EVENT_STATE: event.state,
                        names.EVENT_BEFORE: event.before,
                    }
                    call.happened(names.EVENT_BREAKER, told)
            case CallQueued(request=request):
                call = self._calls.get(id(request))
                if call is not None and not call.ended and call.span is not INVALID_SPAN:
                    call.queue = OtelSpan(self._tracer.start_span(names.QUEUE, context=_under(call)))
            case CallDequeued(request=request) | CallShed(request=request):
                call = self._calls.get(id(request))
                if call is not None and call.queue is not None:
                    if isinstance(event, CallDequeued):
                        call.queue.span.set_attribute(names.QUEUE_SECONDS, event.seconds)
                        call.queue.over()
                    else:
                        call.queue.end(Overloaded(event.reason))
                    call.queue = None

    def forget(self, request: Request) -> None:
        """A call is over."""
        self._calls.pop(id(request), None)

    @property
    def traced(self) -> bool:
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

    @property
    def listening(self) -> bool:
        """Whether anybody wants spans or metrics."""
        return self.traced or (self.metrics is not None and self.metrics.listening)

    def call(self, request: Request, *, balancer: str, streaming: bool) -> CallSpan | None:
        """A logical call, under whatever span is current."""
        traced = self.traced
        if not traced and (self.metrics is None or not self.metrics.listening):
            return None
        if self._waiting:
            self._hear()
        span: Span = INVALID_SPAN
        if traced:
            attributes: dict[str, Any] = {names.BALANCER: balancer, names.STREAMING: streaming}
            if request.agent is not None:
                attributes[names.AGENT] = request.agent
            if request.tenant is not None:
                attributes[names.TENANT] = sha256(request.tenant.encode()).hexdigest()[:12]
            span = self._tracer.start_span(_CALLS[request.role], attributes=attributes)
        call = CallSpan(span, request, self)
        if traced:
            self._calls[id(request)] = call
        return call

    def attempt(self, attempt: Attempt, parent: Any) -> OtelSpan:
        """One attempt on one endpoint; its headers carry the trace there."""
        facts = self._describe(attempt)
        operation = facts[names.OPERATION]
        if isinstance(parent, CallSpan):
            self._again(attempt, parent)
            parent.under_way += 1
        span: Span = INVALID_SPAN
        headers: dict[str, str] = {}
        if parent.span is not INVALID_SPAN:
            model = facts.get(names.REQUEST_MODEL)
            attributes = {**facts, names.ATTEMPT_NUMBER: attempt.number, **asked(attempt.request.payload)}
            if self.content is not None:
                messages = self.content.asked(attempt.request.payload)
                if messages is not None:
                    attributes[names.INPUT_MESSAGES] = messages
            span = self._tracer.start_span(
                f"{operation} {model}" if model else operation,
                context=_under(parent),
                kind=SpanKind.CLIENT,
                attributes=attributes,
            )
            headers = _carrying(span.get_span_context())
        return AttemptSpan(span, headers, attempt, facts, parent, self)

    def _again(self, attempt: Attempt, call: CallSpan) -> None:
        endpoint, last = attempt.endpoint.id, call.last
        if call.under_way > 0:
            kind, told = "hedge", {names.ENDPOINT: endpoint}
        elif last is not None:
            kind = "retry" if last[0] == endpoint else "failover"
            told = {names.ENDPOINT: endpoint, names.EVENT_FROM: last[0], names.VERDICT: last[1]}
        else:
            return
        call.happened(_AGAIN[kind], told)
        if self.metrics is not None and self.metrics.listening:
            self.metrics.again(kind, endpoint)

    def lookup(self, parent: Any) -> OtelSpan | None:
        """A call's look into the cache; None where only metrics are wanted."""
        if parent.span is INVALID_SPAN:
            return None
        return OtelSpan(self._tracer.start_span(names.LOOKUP, context=_under(parent)))

    def _describe(self, attempt: Attempt) -> dict[str, Any]:
        """What does not change from attempt to attempt; not to be changed."""
        endpoint, operation = attempt.endpoint, _ATTEMPTS[attempt.request.role]
        known = self._described.get(endpoint.id)
        if known is None or known[0] is not endpoint or known[1][names.OPERATION] != operation:
            facts = {**describe(endpoint), names.OPERATION: operation}
            known = self._described[endpoint.id] = (endpoint, facts)
        return known[1]


_AGAIN = {"hedge": names.EVENT_HEDGE, "retry": names.EVENT_RETRY, "failover": names.EVENT_FAILOVER}


def _content(given: Content | bool) -> Content | None:
    if isinstance(given, Content):
        return given
    return Content() if given else None


def _carrying(context: SpanContext) -> dict[str, str]:
    """W3C Trace Context, as its propagator writes it; that costs five times as much."""
    if not context.is_valid:
        return {}
    flags = int(context.trace_flags)
    headers = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"}
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()
    return headers


def _under(parent: Any) -> Any:
    return None if parent is None else trace.set_span_in_context(parent.span)
