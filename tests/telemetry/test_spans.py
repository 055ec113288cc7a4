"""A call as a tree of spans: which, under whom, with what in them, each ended once, nothing secret."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from opentelemetry import trace
from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from langchain_cluster import ClusteredLLM, ClusterExhausted, ConfigError, Endpoint, Policy, Price, Request
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import OtelTracing, names
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.faces.faces import NAMES, Face

TOGETHER = 50


class Spans(SpanProcessor):
    """Every span that was started and ended, in order of their ends."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.ended if span.name == name]

    def only(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def tree(self) -> list[str]:
        """One line a span, in order of their beginnings, two spaces a level; and none left open."""
        assert self.started == len(self.ended), "every span is ended"
        ids = [span.context.span_id for span in self.ended]
        assert len(set(ids)) == len(ids), "and once"
        by_id = {span.context.span_id: span for span in self.ended}

        def depth(span: ReadableSpan) -> int:
            return 0 if span.parent is None else 1 + depth(by_id[span.parent.span_id])

        for span in self.ended:
            if span.parent is not None:
                over = by_id[span.parent.span_id]
                assert over.start_time <= span.start_time <= span.end_time <= over.end_time
        ordered = sorted(self.ended, key=lambda span: span.start_time)
        return [f"{'  ' * depth(span)}{span.name}" for span in ordered]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def tracing(spans: Spans) -> OtelTracing:
    provider = TracerProvider()
    provider.add_span_processor(spans)
    return OtelTracing(provider)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES[:4])
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


@pytest.fixture(scope="module")
def module_server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def server(module_server: SimulatedServer) -> SimulatedServer:
    module_server.heal()
    module_server.clear_log()
    return module_server


@pytest.fixture(scope="module")
def model(module_server: SimulatedServer) -> Callable[[str], ChatOpenAI]:
    made: dict[str, ChatOpenAI] = {}

    def of(endpoint: str) -> ChatOpenAI:
        if endpoint not in made:
            url = module_server.openai_url(endpoint)
            made[endpoint] = ChatOpenAI(base_url=url, model="m", api_key="-")
        return made[endpoint]

    return of


def pair(model: Any, tracing: OtelTracing, **options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [
            Endpoint("bad", model("bad")),
            Endpoint("good", model("good"), priority=1, tier="large", price=Price(input=1.0, output=2.0)),
        ],
        tracing=tracing,
        policy=Policy(timeout=20.0),
        **options,
    )


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes)


def test_an_attempt_that_failed_and_one_that_did_not(
    face: Face, server: SimulatedServer, model: Any, tracing: OtelTracing, spans: Spans
) -> None:
    server.fail(faults.Status(503), endpoint="bad")
    llm = pair(model, tracing, cache=MemoryCache())
    face.ask(llm, "hello", {"metadata": {"lc_agent_name": "planner"}})
    assert spans.tree() == [
        "langchain_cluster chat",
        "  langchain_cluster cache lookup",
        "  chat m",
        "  chat m",
    ]
    call = spans.only(names.CALL)
    assert call.kind is SpanKind.INTERNAL
    assert call.status.status_code is StatusCode.UNSET
    assert attributes(call) == {
        "langchain_cluster.balancer": "peak_ewma",
        "langchain_cluster.streaming": face.streams,
        "langchain_cluster.agent": "planner",
        "langchain_cluster.cache": "miss",
        "langchain_cluster.attempts": 2,
        "langchain_cluster.tier": "large",
        "langchain_cluster.hedged": False,
        "langchain_cluster.endpoint": "good",
        "langchain_cluster.cost_usd": (1 * 1.0 + 3 * 2.0) / 1e6,
    }
    lookup = spans.only(names.LOOKUP)
    assert (lookup.kind, attributes(lookup)) == (SpanKind.INTERNAL, {"langchain_cluster.cache": "miss"})
    failed, answered = spans.named("chat m")
    assert failed.kind is answered.kind is SpanKind.CLIENT
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }
    assert attributes(failed) == common | {
        "langchain_cluster.endpoint": "bad",
        "langchain_cluster.tier": "default",
        "langchain_cluster.attempt": 1,
        "langchain_cluster.verdict": "transient",
        "error.type": "503",
    }
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "503")
    told = attributes(answered)
    first_token = told.pop("langchain_cluster.first_token_seconds", None)
    assert (first_token is not None and first_token > 0) == face.streams
    assert told.pop("gen_ai.response.id", "chatcmpl-").startswith("chatcmpl-")
    assert told == common | {
        "langchain_cluster.endpoint": "good",
        "langchain_cluster.tier": "large",
        "langchain_cluster.attempt": 2,
        "langchain_cluster.verdict": "ok",
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert answered.status.status_code is StatusCode.UNSET


def test_a_hit_asks_nobody(face: Face, tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel())], tracing=tracing, cache=MemoryCache())
    face.ask(llm, "hello")
    spans.ended.clear()
    spans.started = 0
    face.ask(llm, "hello")
    assert spans.tree() == ["langchain_cluster chat", "  langchain_cluster cache lookup"]
    assert attributes(spans.only(names.LOOKUP)) == {"langchain_cluster.cache": "memory"}
    call = attributes(spans.only(names.CALL))
    assert call["langchain_cluster.cache"] == "memory"
    assert call["langchain_cluster.attempts"] == 0
    assert call["langchain_cluster.cost_usd"] == 0.0
    assert "langchain_cluster.endpoint" not in call


def test_when_all_failed_the_call_failed(
    face: Face, server: SimulatedServer, model: Any, tracing: OtelTracing, spans: Spans
) -> None:
    server.fail(faults.Refuse())
    llm = pair(model, tracing)
    llm.cluster.policy = Policy(attempts=2)
    with pytest.raises(ClusterExhausted):
        face.ask(llm, "hello")
    assert spans.tree() == ["langchain_cluster chat", "  chat m", "  chat m"]
    call = spans.only(names.CALL)
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, "ClusterExhausted")
    assert attributes(call)["error.type"] == "ClusterExhausted"
    assert attributes(call)["langchain_cluster.attempts"] == 2
    for span in spans.named("chat m"):
        assert span.status.status_code is StatusCode.ERROR
        assert "Connection" in attributes(span)["error.type"]
        assert not span.events, "an exception's text may quote the prompt"


def test_a_stream_that_broke_is_an_error_of_its_attempt(
    server: SimulatedServer, model: Any, tracing: OtelTracing, spans: Spans, runner: asyncio.Runner
) -> None:
    server.fail(faults.CutAfter(2), endpoint="bad")
    for name in ("stream", "astream"):
        with pytest.raises(Exception, match="broke after its first token"):
            Face(name, runner).ask(pair(model, tracing), "hello")
    assert spans.tree() == ["langchain_cluster chat", "  chat m"] * 2
    assert [span.status.description for span in spans.ended] == ["ConnectionError", "StreamInterrupted"] * 2


async def test_a_cancelled_call_ends_its_spans_as_abandoned(tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel(delay=30.0))], tracing=tracing)
    task = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    are_abandoned(spans, begun=False)


def test_a_stream_that_is_left_ends_its_spans_as_abandoned(tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))], tracing=tracing)
    stream = llm.stream("hello")
    next(stream)
    assert (spans.started, len(spans.ended)) == (2, 0)
    stream.close()
    are_abandoned(spans)


async def test_an_async_stream_that_is_left_ends_its_spans_as_abandoned(
    tracing: OtelTracing, spans: Spans
) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))], tracing=tracing)
    stream = llm.astream("hello")
    await anext(stream)
    await stream.aclose()
    are_abandoned(spans)


async def test_a_stream_that_is_dropped_ends_its_spans(tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))], tracing=tracing)
    async for _ in llm.astream("hello"):
        break
    for _ in llm.stream("hello"):
        break
    gc.collect()
    for _ in range(20):
        await asyncio.sleep(0)
    assert spans.tree() == ["langchain_cluster chat", "  chat scripted"] * 2


def are_abandoned(spans: Spans, *, begun: bool = True) -> None:
    assert spans.tree() == ["langchain_cluster chat", "  chat scripted"]
    attempt, call = spans.ended
    assert [event.name for event in attempt.events] == [names.EVENT_FIRST_TOKEN] * begun
    assert (attributes(attempt).get(names.FIRST_TOKEN_SECONDS, -1.0) >= 0) is begun
    assert (attributes(call)[names.ATTEMPTS], attributes(call)[names.CACHE]) == (1, "off")
    for span in spans.ended:
        assert attributes(span)["langchain_cluster.verdict"] == "abandoned"
        assert span.status.status_code is StatusCode.UNSET, "nobody's fault"


def test_a_call_is_under_whatever_span_is_current(face: Face, tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel())], tracing=tracing)
    with tracing._provider.get_tracer("app").start_as_current_span("request"):
        face.ask(llm, "hello")
        assert trace.get_current_span().name == "request", "and leaves it current"
    assert spans.tree() == ["request", "  langchain_cluster chat", "    chat scripted"]


def test_the_endpoint_is_sent_the_span_of_its_attempt(
    face: Face, server: SimulatedServer, model: Any, tracing: OtelTracing, spans: Spans
) -> None:
    server.fail(faults.Status(500), endpoint="bad")
    face.ask(pair(model, tracing), "hello")
    failed, answered = spans.named("chat m")
    for endpoint, span in (("bad", failed), ("good", answered)):
        (seen,) = server.seen(endpoint)
        context = span.context
        flags = f"{context.trace_flags:02x}"
        assert seen.headers["traceparent"] == f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"
        assert context.trace_flags.sampled


def test_of_the_baggage_only_what_was_chosen_goes_along(
    face: Face, server: SimulatedServer, model: Any, spans: Spans
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(spans)
    tracing = OtelTracing(provider, baggage=["team", "absent"])
    llm = ClusteredLLM([Endpoint("e", model("good"))], tracing=tracing)
    token = attach(set_baggage("team", "blue, green", set_baggage("card", "4111")))
    try:
        face.ask(llm, "hello")
    finally:
        detach(token)
    (seen,) = server.seen("good")
    assert seen.headers["baggage"] == "team=blue%2C%20green"


@pytest.mark.parametrize("key", ["", "a b", "a=b", "a,b", 3])
def test_what_is_no_key_of_baggage_is_told(key: Any) -> None:
    with pytest.raises(ConfigError, match="baggage"):
        OtelTracing(baggage=[key])


def test_without_baggage_no_header_of_it_is_sent(server: SimulatedServer, model: Any, tracing: Any) -> None:
    ClusteredLLM([Endpoint("e", model("good"))], tracing=tracing).invoke("hello")
    assert "baggage" not in server.seen("good")[0].headers


def test_an_endpoints_own_headers_are_sent_along(
    server: SimulatedServer, model: Any, tracing: OtelTracing
) -> None:
    llm = ClusteredLLM([Endpoint("e", model("good").bind(extra_headers={"x-team": "a"}))], tracing=tracing)
    llm.invoke("hello")
    (seen,) = server.seen("good")
    assert seen.headers["x-team"] == "a"
    assert "traceparent" in seen.headers


def test_the_span_is_current_while_its_endpoint_is_asked(
    face: Face, tracing: OtelTracing, spans: Spans
) -> None:
    inside: list[str] = []

    def answer(_: Any) -> str:
        inside.append(trace.get_current_span().name)
        return "hi"

    face.ask(ClusteredLLM([Endpoint("e", ScriptedModel(answer))], tracing=tracing), "hello")
    assert inside == ["chat scripted"], "so that what instruments HTTP clients ends up under it"


def test_between_the_chunks_of_a_stream_nothing_of_ours_is_current(tracing: OtelTracing) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))], tracing=tracing)
    for _ in llm.stream("hello"):
        assert not trace.get_current_span().get_span_context().is_valid


def test_tenants_are_told_apart_and_not_told(face: Face, tracing: OtelTracing, spans: Spans) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel())], tracing=tracing)
    for tenant in ("acme", "globex", "acme"):
        face.ask(llm, "hello", {"configurable": {"cluster": {"tenant": tenant}}})
    first, second, third = (attributes(s)["langchain_cluster.tenant_hash"] for s in spans.named(names.CALL))
    assert first == third != second
    assert not any("acme" in str(attributes(span)) for span in spans.ended)


def test_neither_prompt_nor_answer_is_in_any_span(
    face: Face, server: SimulatedServer, model: Any, tracing: OtelTracing, spans: Spans
) -> None:
    prompt = "PROMPT-CANARY"  # the server's answer and its error text repeat it
    server.fail(faults.Status(400, {"error": {"message": f"cannot say {prompt}"}}), times=1)
    server.fail(faults.Status(500, {"error": {"message": f"cannot say {prompt}"}}), times=1)
    llm = pair(model, tracing, cache=MemoryCache())
    with pytest.raises(Exception, match=prompt):
        face.ask(llm, prompt)
    face.ask(llm, prompt)
    face.ask(llm, prompt)
    assert len(spans.ended) == 9
    for span in spans.ended:
        assert prompt not in span.to_json()


def test_callers_side_by_side_keep_their_own_parents(face: Face, tracing: OtelTracing, spans: Spans) -> None:
    model = ScriptedModel("an answer in five words", delay=0.02)
    llm = ClusteredLLM([Endpoint("a", model), Endpoint("b", model)], tracing=tracing)
    tracer = tracing._provider.get_tracer("app")
    if face.awaited:

        async def one(n: int) -> None:
            with tracer.start_as_current_span(f"request {n}"):
                await asyncio.sleep(0)
                if face.streams:
                    async for _ in llm.astream(f"question {n}"):
                        await asyncio.sleep(0)
                else:
                    await llm.ainvoke(f"question {n}")

        async def all_of_them() -> None:
            await asyncio.gather(*(one(n) for n in range(TOGETHER)))

        face.run(all_of_them())
    else:
        barrier = Barrier(TOGETHER)

        def one_blocking(n: int) -> None:
            with tracer.start_as_current_span(f"request {n}"):
                barrier.wait()
                if face.streams:
                    for _ in llm.stream(f"question {n}"):
                        pass
                else:
                    llm.invoke(f"question {n}")

        with ThreadPoolExecutor(TOGETHER) as threads:
            list(threads.map(one_blocking, range(TOGETHER)))
    by_id = {span.context.span_id: span for span in spans.ended}
    assert len(by_id) == spans.started == 3 * TOGETHER
    over_calls = [by_id[span.parent.span_id].name for span in spans.named(names.CALL)]
    assert sorted(over_calls) == sorted(f"request {n}" for n in range(TOGETHER))
    over_attempts = [span.parent.span_id for span in spans.named("chat scripted")]
    assert sorted(over_attempts) == sorted(span.context.span_id for span in spans.named(names.CALL))


def test_the_global_provider_is_found_whenever_it_is_set(
    face: Face, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel())])
    face.ask(llm, "before")
    provider = TracerProvider()
    provider.add_span_processor(spans)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    face.ask(llm, "after")
    assert spans.tree() == ["langchain_cluster chat", "  chat scripted"]
    assert spans.ended[0].instrumentation_scope.name == "langchain_cluster"
    assert spans.ended[0].instrumentation_scope.version


def test_nothing_is_built_while_nobody_listens(face: Face, server: SimulatedServer, model: Any) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "no test sets it for good"
    tracing = OtelTracing()
    assert not tracing.listening
    assert tracing.call(Request(), balancer="peak_ewma", streaming=False) is None
    face.ask(pair(model, tracing), "hello")
    (seen,) = server.seen("bad")
    assert "traceparent" not in seen.headers


def test_a_provider_nobody_reads_is_not_written_to() -> None:
    assert not OtelTracing(TracerProvider()).listening
    assert not OtelTracing(trace.NoOpTracerProvider()).listening


def test_a_span_is_ended_once_however_often_it_is_told(tracing: OtelTracing, spans: Spans) -> None:
    span = tracing.call(Request(), balancer="peak_ewma", streaming=False)
    span.end(None)
    span.end(ValueError("late"))
    (ended,) = spans.ended
    assert ended.status.status_code is StatusCode.UNSET
