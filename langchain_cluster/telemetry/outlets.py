"""Where spans and metrics leave the process: exporters and readers of OpenTelemetry's SDK, made on demand."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

_LOG = logging.getLogger("langchain_cluster.telemetry")
_ENDPOINTS = tuple(f"OTEL_EXPORTER_OTLP_{of}ENDPOINT" for of in ("", "TRACES_", "METRICS_"))
_SDK, _HTTP, _GRPC = "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", (
    "opentelemetry.exporter.otlp.proto.grpc"
)  # fmt: skip
PROMETHEUS = ("localhost", 9464)  # the conventions' own default


@dataclass(slots=True)
class Outlets:
    """What goes where. Nothing is opened before `open`.

    Attributes:
        otlp: None for none, "" as the environment says, else an address.
        prometheus: host and port; None for none.
        port: of Prometheus, once it is open; the one that was free where 0 was asked for.
        registry: of Prometheus, once it is open, for programs that serve it themselves.
    """

    service_name: str | None = None
    otlp: str | None = None
    prometheus: tuple[str, int] | None = None
    set_global: bool = False
    traces: bool = True
    metrics: bool = True
    port: int | None = field(default=None, init=False)
    registry: Any = field(default=None, init=False)
    _open: list[Any] = field(default_factory=list, init=False)
    _server: Any = field(default=None, init=False)

    @classmethod
    def of(
        cls,
        *,
        service_name: str | None,
        otlp: bool | str | None,
        prometheus: bool | int | str | None,
        set_global: bool,
    ) -> Outlets:
        """As the arguments say, and where they say nothing the OTEL_* variables."""
        variables = os.environ
        if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return cls(service_name)
        traces = _named("OTEL_TRACES_EXPORTER", {"otlp", "none"})
        metrics = _named("OTEL_METRICS_EXPORTER", {"otlp", "prometheus", "none"})
        if otlp is None:
            otlp = any(variables.get(name) for name in _ENDPOINTS)
        if prometheus is None:
            prometheus = "prometheus" in metrics
        if not isinstance(otlp, str | bool):
            raise ConfigError(f"{otlp!r} is no collector", key="telemetry.otlp", valid=["True", *_COLLECTORS])
        where = _collector(otlp) if isinstance(otlp, str) else ("" if otlp else None)
        asked = isinstance(otlp, str)
        return cls(
            service_name,
            where,
            None if prometheus is False else _place(prometheus),
            set_global,
            asked or "otlp" in traces,
            asked or "otlp" in metrics,
        )

    def open(self) -> tuple[Any, Any]:
        """A tracer provider and a meter provider; None for what nobody wants."""
        if self.otlp is None and self.prometheus is None:
            return None, None
        what = "telemetry"
        resources = need(f"{_SDK}.resources", extra="otel", for_=what)
        given = {} if self.service_name is None else {"service.name": self.service_name}
        resource = resources.Resource.create(given)
        tracer = self._tracer(resource, what) if self.otlp is not None and self.traces else None
        try:
            meter = self._meter(resource, what)
        except BaseException:
            if tracer is not None:
                tracer.shutdown()
            raise
        self._open = [provider for provider in (tracer, meter) if provider is not None]
        if self.set_global:
            if tracer is not None:
                trace.set_tracer_provider(tracer)
            if meter is not None:
                otel_metrics.set_meter_provider(meter)
        return tracer, meter

    def _tracer(self, resource: Any, what: str) -> Any:
        sdk = need(f"{_SDK}.trace", extra="otel", for_=what)
        export = need(f"{_SDK}.trace.export", extra="otel", for_=what)
        tracer = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
        tracer.add_span_processor(export.BatchSpanProcessor(self._exporter("trace", "OTLPSpanExporter")))
        return tracer

    def _meter(self, resource: Any, what: str) -> Any:
        readers = []
        if self.prometheus is not None:
            readers.append(self._served())
        if self.otlp is not None and self.metrics:
            export = need(f"{_SDK}.metrics.export", extra="otel", for_=what)
            exporter = self._exporter("metric", "OTLPMetricExporter")
            readers.append(export.PeriodicExportingMetricReader(exporter))
        if not readers:
            return None
        sdk = need(f"{_SDK}.metrics", extra="otel", for_=what)
        return sdk.MeterProvider(readers, resource=resource, shutdown_on_exit=False)

    def _exporter(self, signal: str, name: str) -> Any:
        where = self.otlp or ""
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}S_PROTOCOL", protocol)
        if where.startswith("grpc") or (not where and protocol == "grpc"):
            module = need(f"{_GRPC}.{signal}_exporter", extra="otel-grpc", for_="OTLP over gRPC")
            if not where:
                return getattr(module, name)()
            secure = where.startswith("grpcs")
            return getattr(module, name)(endpoint=where.partition("://")[2], insecure=not secure)
        module = need(f"{_HTTP}.{signal}_exporter", extra="otel", for_="OTLP")
        path = f"/v1/{signal}s"
        return getattr(module, name)(endpoint=where + path) if where else getattr(module, name)()

    def _served(self) -> Any:
        """A reader of Prometheus with a registry of its own: the library's default one is global."""
        client = need("prometheus_client", extra="otel", for_="Prometheus")
        exporter = need("opentelemetry.exporter.prometheus", extra="otel", for_="Prometheus")
        self.registry = client.CollectorRegistry()
        try:
            reader = exporter.PrometheusMetricReader(registry=self.registry)
        except TypeError:  # an older one knows only the global registry: take it out of there
            reader = exporter.PrometheusMetricReader()
            client.REGISTRY.unregister(reader._collector)
            self.registry.register(reader._collector)
            reader.shutdown = lambda *args, **kwargs: None
        assert self.prometheus is not None
        host, port = self.prometheus
        try:
            self._server = client.start_http_server(port, host, self.registry)
        except OSError as error:
            raise ConfigError(f"{host}:{port}: {error.strerror}", key="telemetry.prometheus") from None
        self.port = self._server[0].server_port
        return reader

    def flush(self, timeout: float) -> bool:
        """Send what is left; whether it was sent."""
        sent = [provider.force_flush(int(timeout * 1000)) for provider in self._open]
        return all(one is not False for one in sent)

    def closing(self) -> Callable[[], bool]:
        """What ends it: it sends what is left, and that may take its time."""
        providers, self._open = self._open, []
        server, self._server, self.port = self._server, None, None

        def close() -> bool:
            if server is not None:
                server[0].shutdown()
                server[0].server_close()
            failed = None
            for provider in providers:  # each of them, whatever the one before says
                try:
                    provider.shutdown()
                except Exception as error:
                    failed = error
            if failed is not None:
                raise failed
            return True

        return close


def _named(variable: str, known: set[str]) -> set[str]:
    """The exporters a variable names. What is not known here is said and left out."""
    named = {name.strip() for name in (os.environ.get(variable) or "otlp").split(",")}
    if unknown := sorted(named - known):
        _LOG.warning("%s: %s is not known here, only %s", variable, ", ".join(unknown), sorted(known))
    return named & known


_COLLECTORS = ["http://host:4318", "https://host:4318", "grpc://host:4317", "grpcs://host:4317"]


def _collector(given: str) -> str:
    try:
        parts = urlsplit(given)
        known = parts.scheme in ("http", "https", "grpc", "grpcs") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        known = False
    if not known:
        raise ConfigError(
            f"{given.rpartition('@')[2]!r} is no collector", key="telemetry.otlp", valid=_COLLECTORS
        )
    if parts.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")):
        raise ConfigError(
            "the path of one signal does not belong here: both are sent", key="telemetry.otlp",
            valid=_COLLECTORS,
        )  # fmt: skip
    if parts.password is not None or parts.username is not None:
        raise ConfigError(
            "a secret does not belong in an address: set OTEL_EXPORTER_OTLP_HEADERS", key="telemetry.otlp"
        )
    return given.rstrip("/")


def _place(given: bool | int | str) -> tuple[str, int]:
    host = os.environ.get("OTEL_EXPORTER_PROMETHEUS_HOST", PROMETHEUS[0])
    port: Any = given
    if given is True:
        port = os.environ.get("OTEL_EXPORTER_PROMETHEUS_PORT", PROMETHEUS[1])
    elif isinstance(given, str) and ":" in given:
        host, _, port = given.rpartition(":")
        host = host.strip("[]")
    try:
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number < 65_536:
        raise ConfigError(
            f"{given!r} is no place to serve at", key="telemetry.prometheus", valid=["9464", "0.0.0.0:9464"]
        )
    return host, number
