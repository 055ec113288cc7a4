"""Under which span a call lies, where LangChain itself is instrumented.

OpenInference and OpenLLMetry make a span of each run, and keep it with the run: it is not current while
the run goes on, or not always. A call's span belongs under the span of its own run, or one agent turn
would be a trace of theirs and several of ours.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext


def context_of(run: Any) -> otel_context.Context | None:
    """The context for the span of a call in this LangChain run; None for whatever is current."""
    above = next((found for handler in run.handlers if (found := _kept(handler, run.run_id)).is_valid), None)
    if above is None:
        return None
    current = trace.get_current_span().get_span_context()
    if current.is_valid and current.trace_id != above.trace_id:
        return None  # they were asked to keep out of the program's own traces
    return trace.set_span_in_context(NonRecordingSpan(above))


def _kept(handler: Any, run_id: Any) -> SpanContext:
    """What a callback handler keeps for a run: OpenInference's by a method, OpenLLMetry's in a dictionary."""
    get_span, spans = getattr(handler, "get_span", None), getattr(handler, "spans", None)
    try:
        if callable(get_span):
            span = get_span(run_id)
        elif isinstance(spans, dict):
            span = getattr(spans.get(run_id), "span", None)
        else:
            return INVALID_SPAN_CONTEXT
        context = span.get_span_context() if span is not None else None
    except Exception:
        return INVALID_SPAN_CONTEXT  # somebody else's handler, whose method is another one
    return context if isinstance(context, SpanContext) else INVALID_SPAN_CONTEXT
