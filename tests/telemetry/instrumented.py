"""A process whose LangChain is instrumented, as that cannot be undone: prints the paths of our spans as JSON.

python -m tests.telemetry.instrumented openinference
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextvars import copy_context
from importlib import import_module
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langchain_cluster import ClusteredLLM, ClusteredRetriever, Endpoint
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.testing import ScriptedModel

LIBRARIES = {
    "openinference": ("openinference.instrumentation.langchain", "LangChainInstrumentor", {}),
    "openinference apart": (
        "openinference.instrumentation.langchain",
        "LangChainInstrumentor",
        {"separate_trace_from_runtime_context": True},
    ),
    "openllmetry": ("opentelemetry.instrumentation.langchain", "LangchainInstrumentor", {}),
}
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracing = OtelTracing(provider)


class Fixed(BaseRetriever):
    """Finds the question."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return [Document(query)]


async def streamed(asked: Any, question: Any, **options: Any) -> None:
    async for _ in asked.astream(question, **options):
        pass


FACES: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda asked, question: asked.invoke(question),
    "ainvoke": lambda asked, question: asyncio.run(asked.ainvoke(question)),
    "stream": lambda asked, question: list(asked.stream(question)),
    "astream": lambda asked, question: asyncio.run(streamed(asked, question)),
    "messages": lambda asked, question: list(asked.stream(question, stream_mode="messages")),
    "amessages": lambda asked, question: asyncio.run(streamed(asked, question, stream_mode="messages")),
    "batch": lambda asked, question: asked.batch([question]),
    "abatch": lambda asked, question: asyncio.run(asked.abatch([question])),
}


AGENT_FACES = ("invoke", "ainvoke", "stream", "astream", "messages", "amessages")  # two of tokens


def chain() -> Any:
    model = ClusteredLLM([Endpoint("e", ScriptedModel("hi there"))], tracing=tracing)
    return ChatPromptTemplate.from_template("{x}") | model


def agent() -> Any:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    turns = [
        AIMessage("", tool_calls=[{"name": "add", "args": {"a": n, "b": 2}, "id": f"{n}"}]) for n in (1, 2)
    ]
    return create_agent(
        ClusteredLLM([Endpoint("e", ScriptedModel(*turns, "5"))], tracing=tracing), tools=[add], name="adder"
    )


def paths(work: Callable[[], Any]) -> list[list[str]]:
    """Of each attempt that it makes under a span of the program's own, the names from the root to it."""

    def inside() -> None:
        with provider.get_tracer("app").start_as_current_span("request", context=Context()):
            work()

    exporter.clear()
    copy_context().run(inside)  # what an instrumentation leaves current stays in here
    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans}
    assert len(by_id) == len(spans), "none twice"
    found = []
    for span in sorted(spans, key=lambda span: span.start_time):
        if span.kind is trace.SpanKind.CLIENT and (span.name in ("chat scripted", "retrieval")):
            path = [span.name]
            while span.parent is not None:
                span = by_id[span.parent.span_id]
                path.insert(0, span.name)
            found.append(path)
    return found


def main(library: str) -> None:
    module, name, options = LIBRARIES[library]
    getattr(import_module(module), name)().instrument(
        tracer_provider=provider, skip_dep_check=True, **options
    )
    question = {"messages": [("user", "1 + 2 + 2?")]}
    told = {
        face: paths(lambda ask=ask: ask(chain(), {"x": "a"}))
        for face, ask in FACES.items()
        if "messages" not in face
    }
    for face in AGENT_FACES:
        told[f"agent {face}"] = paths(lambda face=face: FACES[face](agent(), question))
    retriever = ClusteredRetriever([Endpoint("e", Fixed())], tracing=tracing)
    for face in ("invoke", "ainvoke"):
        told[f"retriever {face}"] = paths(lambda face=face: FACES[face](retriever, "foxes"))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
