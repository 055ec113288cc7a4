"""Real OTLP receivers, over HTTP and over gRPC, that keep what they are sent."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
metrics_service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")


class Received:
    """What has come: protobuf messages, and the same in plain words."""

    def __init__(self) -> None:
        self.url = ""
        self.traces: list[Any] = []
        self.metrics: list[Any] = []

    @property
    def spans(self) -> list[Any]:
        """Every span, in order of their beginnings."""
        every = [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(every, key=lambda span: span.start_time_unix_nano)

    @property
    def metric_names(self) -> set[str]:
        return {
            metric.name
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def services(self) -> set[Any]:
        return {
            plain(resource.resource.attributes)["service.name"]
            for request in self.traces
            for resource in request.resource_spans
        }


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        into: Received = self.server.into  # type: ignore[attr-defined]
        if self.path == "/v1/traces":
            into.traces.append(trace_service.ExportTraceServiceRequest.FromString(raw))
        elif self.path == "/v1/metrics":
            into.metrics.append(metrics_service.ExportMetricsServiceRequest.FromString(raw))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def http(handler: type[_Handler] = _Handler) -> Iterator[Received]:
    received = Received()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.into = received  # type: ignore[attr-defined]
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def grpc() -> Iterator[Received]:
    library = pytest.importorskip("grpc")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    received = Received()

    def taking(into: list[Any], service: Any, signal: str) -> Any:
        def export(request: Any, context: Any) -> Any:
            into.append(request)
            return getattr(service, f"Export{signal}ServiceResponse")()

        method = library.unary_unary_rpc_method_handler(
            export,
            request_deserializer=getattr(service, f"Export{signal}ServiceRequest").FromString,
            response_serializer=getattr(service, f"Export{signal}ServiceResponse").SerializeToString,
        )
        name = f"opentelemetry.proto.collector.{signal.lower()}"
        return library.method_handlers_generic_handler(f"{name}.v1.{signal}Service", {"Export": method})

    server = library.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (
            taking(received.traces, trace_service, "Trace"),
            taking(received.metrics, metrics_service, "Metrics"),
        )
    )
    received.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(0).wait()
