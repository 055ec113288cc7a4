"""The spans of a call that had to go on elsewhere: python examples/tracing.py

With OTEL_EXPORTER_OTLP_ENDPOINT set they go to a collector; without it they are printed.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import ScriptedModel


def line(span: ReadableSpan) -> str:
    facts = {
        name.removeprefix("langchain_cluster."): value for name, value in (span.attributes or {}).items()
    }
    shown = ", ".join(f"{name}={facts[name]}" for name in ("endpoint", "verdict", "cache") if name in facts)
    return f"{span.name:32} {shown}\n"


provider = TracerProvider(resource=Resource.create({"service.name": "langchain-cluster-example"}))
to_a_collector = "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ
exporter = OTLPSpanExporter() if to_a_collector else ConsoleSpanExporter(formatter=line)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

llm = ClusteredLLM(
    [
        Endpoint("gpu-1", ScriptedModel(ConnectionError("refused"), model_name="llama-3.1-8b")),
        Endpoint("gpu-2", ScriptedModel("The sky is blue.", model_name="llama-3.1-8b"), priority=1),
    ],
    cache=True,
)
with trace.get_tracer("example").start_as_current_span("my program"):
    print(llm.invoke("What colour is the sky?").text)
provider.shutdown()
