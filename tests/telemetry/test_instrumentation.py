"""Beside instrumentation that others make: under LangChain's, above the HTTP client's, and in one trace."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.testing import ScriptedModel, SimulatedServer

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

# What each calls the run of our model.
RUN = {"openinference": "ClusteredLLM", "openllmetry": "ClusteredLLM.chat"}
MODULES = {
    "openinference": "openinference.instrumentation.langchain",
    "openllmetry": "opentelemetry.instrumentation.langchain",
}
OURS = ["langchain_cluster chat", "chat scripted"]


@cache
def instrumented(library: str) -> dict[str, list[list[str]]]:
    """The paths to our attempts in a process whose LangChain is instrumented."""
    pytest.importorskip("langchain.agents")
    pytest.importorskip(MODULES[library.partition(" ")[0]])
    ran = subprocess.run(
        [sys.executable, "-m", "tests.telemetry.instrumented", library],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told: dict[str, list[list[str]]] = json.loads(ran.stdout.strip().splitlines()[-1])
    return told


@pytest.mark.parametrize("face", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
@pytest.mark.parametrize("library", RUN)
def test_a_call_is_under_its_run(library: str, face: str) -> None:
    (path,) = instrumented(library)[face]
    assert path[0] == "request"
    assert path[-3:] == [RUN[library], *OURS]


@pytest.mark.parametrize("face", ["invoke", "ainvoke", "stream", "astream", "messages", "amessages"])
@pytest.mark.parametrize("library", RUN)
def test_every_turn_of_an_agent_is_in_its_trace(library: str, face: str) -> None:
    paths = instrumented(library)[f"agent {face}"]
    assert [path[-3:] for path in paths] == [[RUN[library], *OURS]] * 3
    assert {path[0] for path in paths} == {"request"}
    assert len({tuple(path) for path in paths}) == 1, "all under the node of the model"


@pytest.mark.parametrize("face", ["invoke", "ainvoke"])
def test_a_retrieval_is_under_its_run(face: str) -> None:
    (path,) = instrumented("openinference")[f"retriever {face}"]
    assert path == ["request", "ClusteredRetriever", "langchain_cluster retrieval", "retrieval"]


@pytest.mark.parametrize("face", ["invoke", "astream"])
def test_who_asked_for_traces_of_their_own_has_them(face: str) -> None:
    assert instrumented("openinference apart")[face] == [["request", *OURS]]


class Told:
    """A provider whose spans are kept."""

    def __init__(self) -> None:
        self.exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider()
        self.provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))
        self.tracing = OtelTracing(self.provider)

    @property
    def by_name(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.mark.parametrize(
    "handler",
    [
        {"get_span": staticmethod(lambda run_id: None)},
        {"get_span": staticmethod(lambda: None)},
        {"get_span": staticmethod(lambda run_id: "no span")},
        {"spans": {}},
        {"spans": 3},
    ],
)
def test_a_handler_of_another_kind_changes_nothing(handler: dict[str, Any]) -> None:
    told, watcher = Told(), type("Watcher", (BaseCallbackHandler,), handler)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], tracing=told.tracing)
    for ask in (llm.invoke, lambda *given: list(llm.stream(*given))):
        told.exporter.clear()
        ask("hello", {"callbacks": [watcher()]})
        assert told.by_name[OURS[0]].parent is None
        assert len(told.by_name) == 2


def test_the_http_client_is_under_the_attempt() -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
    httpx = pytest.importorskip("httpx")
    told = Told()
    with SimulatedServer() as server, httpx.Client() as client:
        instrumentation.HTTPXClientInstrumentor.instrument_client(client, tracer_provider=told.provider)
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}

        def ask(_: Any) -> str:
            answer = client.post(f"{server.openai_url('e')}/chat/completions", json=body).json()
            return str(answer["choices"][0]["message"]["content"])

        ClusteredLLM([Endpoint("e", ScriptedModel(ask))], tracing=told.tracing).invoke("hello")
        (seen,) = server.seen("e")
    request = next(span for name, span in told.by_name.items() if name.startswith("POST"))
    assert request.parent.span_id == told.by_name["chat scripted"].context.span_id
    assert f"{request.context.span_id:016x}" in seen.headers["traceparent"]


class Keeping(BaseCallbackHandler):
    """Makes a span of each run and keeps it with the run, as OpenInference does."""

    def __init__(self, told: Told) -> None:
        self.tracer, self.kept = told.provider.get_tracer("theirs"), {}  # type: ignore[var-annotated]

    def on_chat_model_start(self, *args: Any, run_id: Any, **more: Any) -> None:
        self.kept[run_id] = self.tracer.start_span("run", context=trace.set_span_in_context(INVALID_SPAN))

    def on_llm_end(self, *args: Any, run_id: Any, **more: Any) -> None:
        self.kept[run_id].end()

    def get_span(self, run_id: Any) -> Any:
        return self.kept.get(run_id)


class Holding(Keeping):
    """The same with a dictionary of holders, as OpenLLMetry does."""

    get_span = None  # type: ignore[assignment]

    @property
    def spans(self) -> dict[Any, Any]:
        return {id: type("Holder", (), {"span": span})() for id, span in self.kept.items()}


@pytest.mark.parametrize("kind", [Keeping, Holding])
@pytest.mark.parametrize("face", ["invoke", "stream"])
def test_whoever_keeps_spans_with_runs_is_asked_for_them(kind: type[Keeping], face: str) -> None:
    told = Told()
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("hi"))], tracing=told.tracing, callbacks=[kind(told)])
    asked = llm.invoke("hello") if face == "invoke" else list(llm.stream("hello"))
    assert asked
    assert told.by_name[OURS[0]].parent.span_id == told.by_name["run"].context.span_id
    told.exporter.clear()
    with told.provider.get_tracer("app").start_as_current_span("request"):
        llm.invoke("hello")
    ours, request = told.by_name[OURS[0]], told.by_name["request"]
    assert ours.parent.span_id == request.context.span_id, "theirs has a trace of its own"
