"""Opens spans with a tracer: plain ones where nobody can tell the difference, else the tracer's own.

Nobody can where the SDK's provider has no other processors than its own two, which look at a span when it
has ended and not before; where it takes every span, or as the parent was taken; and where it does not cut
attributes. Whoever adds a processor, samples or cuts has the SDK's spans from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from langchain_cluster.telemetry.plain_span import PlainSpan

_RANDOM = int(getattr(TraceFlags, "RANDOM_TRACE_ID", 0))  # newer ones say how the id was made
_SAMPLED = int(TraceFlags.SAMPLED)
_FLAGS = {flags: TraceFlags(flags) for flags in (_SAMPLED, _SAMPLED | _RANDOM)}


class Opening:
    """Opens spans.

    Args:
        tracer: one of the API's; it may be one that finds its provider later.
    """

    __slots__ = ("_end", "_event", "_known", "_made", "_quick", "_root", "_scope", "_tracer")

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer: Any = tracer
        self._known: Any = self  # nothing yet
        self._quick: Any = None

    def span(
        self,
        name: str,
        context: Any = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """A span that has begun, under the current one or that of `context`."""
        tracer = self._tracer
        if type(tracer) is trace.ProxyTracer:
            tracer = tracer._tracer
        processors = getattr(getattr(tracer, "span_processor", None), "_span_processors", None)
        if processors is not self._known:
            self._quick = _quick(tracer, processors)
            self._known = processors
            if self._quick is not None:
                self._learn(self._quick)
        quick = self._quick
        if quick is None:
            opened: Span = tracer.start_span(name, context=context, kind=kind, attributes=attributes)
            return opened
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        ids = quick.id_generator
        if parent is None or not parent.is_valid:
            made = SpanContext(ids.generate_trace_id(), ids.generate_span_id(), False, self._root)
            return PlainSpan(name, made, None, kind, attributes, self._finish)
        flags = parent.trace_flags
        if not flags & _SAMPLED:
            left = SpanContext(parent.trace_id, ids.generate_span_id(), False, flags, parent.trace_state)
            return NonRecordingSpan(left)
        made = SpanContext(
            parent.trace_id,
            ids.generate_span_id(),
            False,
            _FLAGS[_SAMPLED | (flags & _RANDOM)],
            parent.trace_state,
        )
        return PlainSpan(name, made, parent, kind, attributes, self._finish)

    def _learn(self, tracer: Any) -> None:
        from opentelemetry.sdk.trace import Event, ReadableSpan

        self._event, self._made = Event, ReadableSpan
        self._scope, self._end = tracer._instrumentation_scope, tracer.span_processor.on_end
        random = getattr(tracer.id_generator, "is_trace_id_random", lambda: False)()
        self._root = _FLAGS[_SAMPLED | (_RANDOM if random else 0)]

    def _finish(self, span: PlainSpan) -> None:
        """Hand a span that has ended to the processors, in the form they know."""
        events = [self._event(name, told, at) for name, told, at in span.events] if span.events else ()
        self._end(
            self._made(
                name=span.name,
                context=span.context,
                parent=span.parent,
                resource=self._quick.resource,
                attributes=span.attributes,
                events=events,
                links=span.links,
                kind=span.kind,
                status=span.status,
                start_time=span.start_time,
                end_time=span.end_time,
                instrumentation_scope=self._scope,
            )
        )


def _quick(tracer: Any, processors: Any) -> Any:
    """The tracer, if its spans may be plain ones; None if not, or if that cannot be told."""
    if not processors or not type(tracer).__module__.startswith("opentelemetry.sdk."):
        return None
    try:
        from opentelemetry.sdk.trace import sampling
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        known = all(type(each) in (BatchSpanProcessor, SimpleSpanProcessor) for each in processors)
        limits = vars(tracer._span_limits)
        cut = limits["max_attribute_length"] is not None or limits["max_span_attribute_length"] is not None
        few = min(value for value in limits.values() if value is not None) < _ENOUGH
        enabled = getattr(tracer, "_is_enabled", lambda: True)()
        if known and not cut and not few and enabled and tracer.sampler is sampling.DEFAULT_ON:
            needed = tracer.id_generator.generate_span_id, tracer._instrumentation_scope, tracer.resource
            return None if None in needed else tracer
    except Exception:
        pass  # another release of the SDK, with other insides
    return None


_ENOUGH = 64  # attributes, events or links of one span: more than ours ever have
