"""Spans of embeddings and retrieval: named by what was asked for, with tokens, and without a text."""

from __future__ import annotations

import pytest

from langchain_cluster import ClusteredEmbeddings, ClusteredLLM, ClusteredRetriever, Endpoint
from langchain_cluster.telemetry import OtelTracing
from langchain_cluster.testing import ScriptedEmbeddings, ScriptedModel, ScriptedRetriever

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def test_a_span_is_named_by_what_was_asked_for() -> None:
    spans, provider = in_memory.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(spans))
    llm = ClusteredLLM(
        [
            Endpoint("chat", ScriptedModel("hi", model_name="m")),
            Endpoint("vectors", ScriptedEmbeddings(ConnectionError("private"), "ok", model="v")),
            Endpoint("store", ScriptedRetriever("private")),
        ],
        cache=True,
        breaker=None,
        policy={"wait": lambda state: 0.0},
        tracing=OtelTracing(provider),
    )
    llm.invoke("private")
    ClusteredEmbeddings(cluster=llm.cluster).embed_documents(["private", "too"])
    ClusteredRetriever(cluster=llm.cluster).invoke("private")
    found = sorted(spans.get_finished_spans(), key=lambda span: span.start_time)
    assert [span.name for span in found] == [
        "langchain_cluster chat", "langchain_cluster cache lookup", "chat m",
        "langchain_cluster embeddings", "langchain_cluster cache lookup", "embeddings v", "embeddings v",
        "langchain_cluster retrieval", "langchain_cluster cache lookup", "retrieval",
    ]  # fmt: skip
    operations = [span.attributes.get("gen_ai.operation.name") for span in found]
    assert [name for name in operations if name] == ["chat", "embeddings", "embeddings", "retrieval"]
    assert "private" not in "".join(span.to_json() for span in found)
