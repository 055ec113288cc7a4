"""Spans as plain data: the same to whoever exports them, and the SDK's own wherever somebody could tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.telemetry.opening import Opening
from langchain_cluster.telemetry.plain_span import PlainSpan
from langchain_cluster.testing import ScriptedModel

sdk = pytest.importorskip("opentelemetry.sdk.trace")
sampling = pytest.importorskip("opentelemetry.sdk.trace.sampling")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
USED = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}


class Watching(sdk.SpanProcessor):  # type: ignore[misc]
    """One of somebody else's, that looks at spans when they begin."""

    def __init__(self, *, tells: bool = True) -> None:
        self.begun: list[Any] = []
        self._tells = tells

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.begun.append(span)
        if self._tells:
            span.set_attribute("team", "blue")


class Provided:
    """A provider whose spans are kept."""

    def __init__(self, *more: Any, **options: Any) -> None:
        self.exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider(**options)
        self.provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))
        for processor in more:
            self.provider.add_span_processor(processor)

    @property
    def spans(self) -> list[Any]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def opened(self, name: str = "x") -> Any:
        return Opening(trace.get_tracer("scope", "1.0", self.provider)).span(name, attributes={"a": 1})


def story(provided: Provided) -> list[Any]:
    """What is told of a failure, an answer, a hit, and a stream."""
    llm = ClusteredLLM(
        [
            Endpoint("bad", ScriptedModel(ConnectionError("down"))),
            Endpoint("good", ScriptedModel(AIMessage("one two", usage_metadata=USED)), priority=1),
        ],
        cache=MemoryCache(),
        tracing=OtelTracing(provided.provider, content=True),
        seed=1,
    )
    with provided.provider.get_tracer("app").start_as_current_span("request"):
        llm.invoke("hello")
        llm.invoke("hello")
        list(llm.stream("other"))
    spans = provided.spans
    ids = {span.context.span_id: number for number, span in enumerate(spans)}

    def shown(span: Any) -> Any:
        told = {name: value for name, value in span.attributes.items() if "seconds" not in name}
        told.pop("team", None)
        return (
            span.name,
            span.kind,
            told,
            [(event.name, dict(event.attributes)) for event in span.events],
            [ids[link.context.span_id] for link in span.links],
            (span.status.status_code, span.status.description),
            None if span.parent is None else ids[span.parent.span_id],
            int(span.context.trace_flags),
            (span.instrumentation_scope.name, span.instrumentation_scope.version),
            span.resource.attributes,
            sorted(name for name in span.attributes if "seconds" in name),
        )

    return [shown(span) for span in spans]


def test_an_exporter_gets_the_same_either_way() -> None:
    plain = story(Provided())
    watching = Watching()
    assert plain == story(Provided(watching))
    assert len(watching.begun) == len(plain) == 11, "which are the SDK's own"


def test_they_are_plain_where_nobody_can_tell() -> None:
    assert type(Provided().opened()) is PlainSpan
    assert type(Provided(sampler=sampling.DEFAULT_ON).opened()) is PlainSpan


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": sampling.TraceIdRatioBased(1.0)},
        {"sampler": sampling.ALWAYS_ON},
        {"span_limits": sdk.SpanLimits(max_span_attribute_length=3)},
        {"span_limits": sdk.SpanLimits(max_attribute_length=3)},
        {"span_limits": sdk.SpanLimits(max_span_attributes=5)},
    ],
)
def test_who_samples_or_cuts_has_those_of_the_sdk(options: dict[str, Any]) -> None:
    assert isinstance(Provided(**options).opened(), sdk.Span)


def test_a_processor_with_a_hook_of_its_own_has_those_of_the_sdk() -> None:
    provided = Provided()
    begun: list[Any] = []
    (own,) = provided.provider._active_span_processor._span_processors
    own.on_start = lambda span, parent_context=None: begun.append(span)
    span = provided.opened()
    assert begun == [span]


def test_an_exporter_that_writes_json_writes_the_same() -> None:
    def written(provided: Provided) -> Any:
        provided.opened("x").end()
        told = json.loads(provided.spans[0].to_json())
        return {name: type(value) if "time" in name else value for name, value in told.items()} | {
            "context": sorted(told["context"])
        }

    assert written(Provided()) == written(Provided(Watching(tells=False)))


def test_a_processor_that_comes_later_sees_what_begins_from_then_on() -> None:
    provided, watching = Provided(), Watching()
    opening = Opening(trace.get_tracer("scope", "1.0", provided.provider))
    opening.span("before").end()
    provided.provider.add_span_processor(watching)
    opening.span("after").end()
    assert [span.name for span in watching.begun] == ["after"]
    assert [dict(span.attributes) for span in provided.spans] == [{}, {"team": "blue"}]


@pytest.mark.parametrize("more", [(), (Watching(),)], ids=["plain", "the SDK's"])
def test_what_the_parent_left_out_is_left_out(more: tuple[Any, ...]) -> None:
    provided = Provided(*more)
    opening = Opening(trace.get_tracer("scope", "1.0", provided.provider))
    above = SpanContext(1, 2, True, TraceFlags(TraceFlags.DEFAULT))
    span = opening.span("x", trace.set_span_in_context(NonRecordingSpan(above)))
    assert not span.is_recording()
    context = span.get_span_context()
    assert (context.trace_id, context.trace_flags.sampled, context.is_valid) == (1, False, True)
    assert context.span_id != 2
    span.end()
    assert provided.spans == []


def test_a_remote_parent_hands_down_its_trace_and_state() -> None:
    provided = Provided()
    opening = Opening(trace.get_tracer("scope", "1.0", provided.provider))
    state = trace.TraceState([("vendor", "1")])
    above = SpanContext(1, 2, True, TraceFlags(TraceFlags.SAMPLED), state)
    opening.span("x", trace.set_span_in_context(NonRecordingSpan(above))).end()
    (span,) = provided.spans
    assert (span.context.trace_id, span.parent.span_id, span.context.trace_state) == (1, 2, state)


def test_a_provider_that_is_shut_down_takes_no_more() -> None:
    provided = Provided()
    span = provided.opened()
    provided.provider.shutdown()
    span.end()
    assert provided.spans == []


def test_a_span_that_has_ended_says_no_more() -> None:
    ended: list[PlainSpan] = []
    context = SpanContext(1, 2, False, TraceFlags(1))
    span = PlainSpan("x", context, None, SpanKind.INTERNAL, {}, ended.append, None, None)
    assert (span.is_recording(), span.get_span_context()) == (True, context)
    span.update_name("y")
    span.set_attribute("a", 1)
    span.add_event("e", {"b": 2}, timestamp=7)
    span.add_link(SpanContext(0, 0, False))
    span.add_link(SpanContext(3, 4, False))
    span.set_status(StatusCode.UNSET)
    span.set_status(StatusCode.ERROR, "bad")
    span.set_status(Status(StatusCode.OK))
    span.set_status(Status(StatusCode.ERROR))
    span.record_exception(ValueError("CANARY"))
    for _ in range(2):
        span.end(9)
        span.update_name("z")
        span.set_attribute("a", 2)
        span.set_attributes({"a": 3})
        span.add_event("late")
        span.add_link(SpanContext(5, 6, False))
        span.set_status(StatusCode.ERROR)
    assert ended == [span]
    assert (span.name, span.attributes, span.end_time) == ("y", {"a": 1}, 9)
    events = [(event.name, event.attributes) for event in span.events]
    assert events == [("e", {"b": 2}), ("exception", {"exception.type": "ValueError"})]
    assert span.events[0].timestamp == 7
    assert [link.context.trace_id for link in span.links] == [3]
    assert span.status.status_code is StatusCode.OK


def test_another_releases_insides_are_left_alone() -> None:
    class Tracer:
        span_processor = type("Processors", (), {"_span_processors": (export.SimpleSpanProcessor(None),)})()

        def start_span(self, name: str, **options: Any) -> Any:
            return name

    Tracer.__module__ = "opentelemetry.sdk.trace"
    opening = Opening(Tracer())  # type: ignore[arg-type]
    assert [opening.span("x"), opening.span("y")] == ["x", "y"]


def test_the_state_of_a_trace_goes_to_the_endpoint_and_no_header_of_none() -> None:
    from langchain_cluster.telemetry.carry import Carried

    state = trace.TraceState([("vendor", "1")])
    headers = Carried().headers(SpanContext(1, 2, False, TraceFlags(1), state))
    assert headers == {"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "vendor=1"}
    assert Carried("team").headers(trace.INVALID_SPAN_CONTEXT) == {}
