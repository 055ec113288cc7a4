"""What being watched costs a call: with nobody listening, with providers that do nothing, with everything.

    python tests/benchmarks/telemetry.py

A cluster of four asks a model that answers in place, without a cache. *Everything* is spans to a batch
processor, metrics that are collected, and a chained audit trail. The first column is the CPU time of the
thread that calls, which is what a caller waits for; the second is that of the whole process, with the
threads that work off behind it. The exporter drops what it is given: serialising is the collector's price.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from opentelemetry.context import attach, detach
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider, SpanKind, set_span_in_context

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.telemetry import AuditLog, Metrics, OtelTracing, Telemetry

USED = {"input_tokens": 10, "output_tokens": 12, "total_tokens": 22}


class Dropping(SpanExporter):
    """Takes spans, and keeps none."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Unwatched:
    """No telemetry at all: what the others are compared with."""

    def call(self, request: Any, *, balancer: str, streaming: bool) -> None:
        return None

    def attempt(self, attempt: Any, parent: Any) -> None:
        return None

    def lookup(self, parent: Any) -> None:
        return None


class Bare(Unwatched):
    """The two spans of a call with as many attributes, straight from the SDK: what nobody can go below."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("bare")

    def call(self, request: Any, *, balancer: str, streaming: bool) -> Any:
        return BareSpan(self._tracer.start_span("call", attributes=dict.fromkeys("ab", "said")), "cdefg")

    def attempt(self, attempt: Any, parent: Any) -> Any:
        attributes = dict.fromkeys("abcdef", "said")
        under = set_span_in_context(parent.span)
        return BareSpan(
            self._tracer.start_span("attempt", under, SpanKind.CLIENT, attributes=attributes), "ghi"
        )


class BareSpan:
    """Is current while a step runs, and is told a little more at its end."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, span: Any, more: str) -> None:
        self.span, self._more = span, more

    def __enter__(self) -> None:
        self._token = attach(set_span_in_context(self.span))

    def __exit__(self, *details: Any) -> None:
        detach(self._token)

    def end(self, ended: Any) -> None:
        self.span.set_attributes(dict.fromkeys(self._more, "said"))
        self.span.end()


def cluster(**options: Any) -> ClusteredLLM:
    model = GenericFakeChatModel(messages=itertools.repeat(AIMessage("Because.", usage_metadata=USED)))
    return ClusteredLLM([Endpoint(f"gpu-{n}", model) for n in range(4)], seed=1, **options)


def spans() -> Any:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    return provider


def measured() -> Metrics:
    return Metrics(MeterProvider([InMemoryMetricReader()]))


def variants(folder: Path) -> dict[str, ClusteredLLM]:
    def told(tracing: OtelTracing, audit: AuditLog | None = None) -> ClusteredLLM:
        return cluster(telemetry=Telemetry(tracing, audit=audit))

    trail = AuditLog(folder / "audit.jsonl", chain=True)
    return {
        "no telemetry": cluster(tracing=Unwatched()),
        "nothing listening": cluster(),
        "no-op providers": told(OtelTracing(NoOpTracerProvider(), metrics=Metrics(NoOpMeterProvider()))),
        "bare SDK spans": cluster(tracing=Bare(spans())),
        "metrics": told(OtelTracing(NoOpTracerProvider(), metrics=measured())),
        "spans": told(OtelTracing(spans())),
        "everything": told(OtelTracing(spans(), metrics=measured()), trail),
    }


def one_round(llm: ClusteredLLM, calls: int) -> tuple[float, float]:
    thread, process = time.thread_time(), time.process_time()
    for n in range(calls):
        llm.invoke(f"why {n}?")
    return (time.thread_time() - thread) / calls, (time.process_time() - process) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls per round")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = variants(Path(folder))
        for llm in found.values():
            one_round(llm, 100)
        best = {name: (float("inf"), float("inf")) for name in found}
        for _ in range(args.rounds):
            for name, llm in found.items():
                thread, process = one_round(llm, args.calls)
                best[name] = min(best[name][0], thread), min(best[name][1], process)
        for llm in found.values():
            if llm.cluster.telemetry.audit is not None:
                llm.cluster.telemetry.audit.close()
    base = best["no telemetry"]
    added = {
        name: [(one - zero) * 1e6 for one, zero in zip(taken, base, strict=True)]
        for name, taken in best.items()
    }
    if args.json:
        print(json.dumps(added))
        return
    print(f"µs a call, best of {args.rounds} rounds of {args.calls}; a call takes {base[0] * 1e6:.0f}\n")
    print(f"{'':24}{'its thread':>12}{'the process':>14}")
    for name, (thread, process) in added.items():
        print(f"{name:24}{thread:12.1f}{process:14.1f}")


if __name__ == "__main__":
    main()
