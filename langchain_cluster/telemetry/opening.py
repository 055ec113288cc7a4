"""Opens spans with a tracer: plain ones where nobody can tell the difference, else the tracer's own.

Nobody can where the SDK's provider has no other processors than its own two, which look at a span when it
has ended and not before; where it takes every span, or as the parent was taken; and where it does not cut
attributes. Whoever adds a processor, samples or cuts has the SDK's spans from then on.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState

_RANDOM = int(getattr(TraceFlags, "RANDOM_TRACE_ID", 0))  # newer ones say how the id was made
_SAMPLED = int(TraceFlags.SAMPLED)
_FLAGS = {flags: TraceFlags(flags) for flags in (_SAMPLED, _SAMPLED | _RANDOM)}
_NEW = tuple.__new__
_NO_STATE = TraceState.get_default()


class Opening:
    """Opens spans.

    Args:
        tracer: one of the API's; it may be one that finds its provider later.
    """

    __slots__ = ("_end", "_ids", "_known", "_place", "_plain", "_resource", "_root", "_scope", "_tracer")

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer: Any = tracer
        self._known: Any = None  # the processors that were there when it was looked
        self._place: Any = None  # where processors are, while spans may be plain

    @property
    def plain(self) -> bool:
        """Whether spans may be plain: if so there is somebody who takes them."""
        # A look at every span, so it is short while nothing has changed.
        place = self._place
        return (place is not None and place._span_processors is self._known) or self._look()

    def span(
        self,
        name: str,
        context: Any = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: dict[str, Any] | None = None,
    ) -> Span:
        """A span that has begun, under the current one or that of `context`; `attributes` become its own."""
        place = self._place
        if (place is None or place._span_processors is not self._known) and not self._look():
            opened: Span = self._found().start_span(name, context=context, kind=kind, attributes=attributes)
            return opened
        if context is None:
            context = otel_context.get_current()
        above = trace.get_current_span(context).get_span_context() if context else None
        return self._under(above, name, kind, attributes)

    def child(
        self,
        parent: Span,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: dict[str, Any] | None = None,
    ) -> Span:
        """A span that has begun under this one; `attributes` become its own."""
        place = self._place
        if (place is None or place._span_processors is not self._known) and not self._look():
            context = trace.set_span_in_context(parent)
            opened: Span = self._found().start_span(name, context=context, kind=kind, attributes=attributes)
            return opened
        return self._under(parent.get_span_context(), name, kind, attributes)

    def _under(
        self, above: SpanContext | None, name: str, kind: SpanKind, attributes: dict[str, Any] | None
    ) -> Span:
        ids = self._ids
        parent = None
        trace_id, flags, state = 0, self._root, _NO_STATE
        if above is not None:
            trace_id, _, _, sampled, state, valid = above
            if valid:
                parent = above
                if not sampled & _SAMPLED:
                    left = SpanContext(trace_id, ids.generate_span_id(), False, sampled, state)
                    return NonRecordingSpan(left)
                flags = _FLAGS[_SAMPLED | (sampled & _RANDOM)]
        if parent is None:
            trace_id = ids.generate_trace_id()
        made = _NEW(SpanContext, (trace_id, ids.generate_span_id(), False, flags, state, True))
        told = {} if attributes is None else attributes
        span: Span = self._plain(name, made, parent, kind, told, self._end, self._resource, self._scope)
        return span

    def _found(self) -> Any:
        """The tracer: what stands for one knows it when a provider is set."""
        tracer = self._tracer
        return tracer._tracer if type(tracer) is trace.ProxyTracer else tracer

    def _look(self) -> bool:
        """Whether spans may be plain now: there are other processors than before, or it is the first time."""
        tracer = self._found()
        place = getattr(tracer, "span_processor", None)
        processors = getattr(place, "_span_processors", None)
        if processors is None or (self._place is None and processors is self._known):
            return False
        quick = _quick(tracer, processors)
        if quick:
            self._learn(tracer)
        self._place, self._known = place if quick else None, processors
        return quick

    def _learn(self, tracer: Any) -> None:
        from langchain_cluster.telemetry.plain_span import PlainSpan

        self._plain, self._ids, self._resource = PlainSpan, tracer.id_generator, tracer.resource
        self._scope, self._end = tracer._instrumentation_scope, tracer.span_processor.on_end
        random = getattr(tracer.id_generator, "is_trace_id_random", lambda: False)()
        self._root = _FLAGS[_SAMPLED | (_RANDOM if random else 0)]


def _quick(tracer: Any, processors: Any) -> bool:
    """Whether spans may be plain ones; not if that cannot be told."""
    if not processors or not type(tracer).__module__.startswith("opentelemetry.sdk."):
        return False
    try:
        from opentelemetry.sdk.trace import sampling
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        known = all(
            type(each) in (BatchSpanProcessor, SimpleSpanProcessor) and not vars(each).keys() & _HOOKS
            for each in processors
        )
        limits = vars(tracer._span_limits)
        cut = limits["max_attribute_length"] is not None or limits["max_span_attribute_length"] is not None
        few = min(value for value in limits.values() if value is not None) < _ENOUGH
        enabled = getattr(tracer, "_is_enabled", lambda: True)()
        if known and not cut and not few and enabled and tracer.sampler is sampling.DEFAULT_ON:
            from langchain_cluster.telemetry.plain_span import fits

            needed = tracer.id_generator.generate_span_id, tracer._instrumentation_scope, tracer.resource
            return None not in needed and fits()
    except Exception:
        pass  # another release of the SDK, with other insides
    return False


_HOOKS = {"on_start", "on_end", "_on_ending"}  # some put their own in the place of a processor's
_ENOUGH = 64  # attributes, events or links of one span: more than ours ever have
