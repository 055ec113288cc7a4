"""Everything this library tells, set up by one call: where spans and metrics go, and the audit trail.

The providers made here belong to it alone. OpenTelemetry's global ones are used when nothing was set up,
and set only for who asks.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Collection, Iterable
from threading import RLock
from typing import Any, cast

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace

from langchain_cluster.errors import ConfigError
from langchain_cluster.telemetry.aside import Aside
from langchain_cluster.telemetry.audit import AuditLog
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.metrics import AGENTS, Metrics
from langchain_cluster.telemetry.outlets import Outlets
from langchain_cluster.telemetry.spans import OtelTracing

_LOG = logging.getLogger("langchain_cluster.telemetry")
GRACE = 3.0  # seconds an exporter may take at the end: a collector that is away holds up nobody


class Telemetry:
    """Spans, metrics and the audit trail of the clusters that are given it.

    Args:
        tracing: opens spans and tells metrics.
        audit: where calls are written down; None for nowhere.
        outlets: what is started with it, and ended with it; None: providers that are not ours.
        deferred: whether it is started with the first cluster that is given it, and ended with the last.
    """

    def __init__(
        self,
        tracing: OtelTracing,
        *,
        audit: AuditLog | None = None,
        outlets: Outlets | None = None,
        deferred: bool = False,
    ) -> None:
        self.tracing = tracing
        self.audit, self.outlets = audit, outlets
        self._lock = RLock()
        self._begun, self._deferred, self._users = False, deferred, 0
        self._aside: Aside | None = None  # there while something is open that is to be sent and ended

    @property
    def metrics(self) -> Metrics | None:
        """What metrics are told."""
        return self.tracing.metrics

    def watch(self, cluster: Any) -> None:
        """Hear what happens in a cluster. One that is made with this telemetry is watched already."""
        if cluster.tracing is self.tracing:
            self.tracing.watch(cluster)
        else:
            watch = getattr(cluster.tracing, "watch", None)
            if watch is not None:
                watch(cluster)
        if self.audit is not None:
            self.audit.listen(cluster)

    def start(self) -> Telemetry:
        """Open what spans and metrics go out by; once."""
        with self._lock:
            if self._begun or self.outlets is None:
                return self
            tracer, meter = self.outlets.open()
            if tracer is not None:
                self.tracing.use(tracer)
            if meter is not None and self.metrics is not None:
                self.metrics.use(meter)
            self.tracing.hear()
            self._begun, self._aside = True, Aside()
            atexit.register(self.shutdown)
        return self

    def begin(self) -> None:
        """A cluster that was given this starts. What cannot be opened is logged: calls go on without it."""
        with self._lock:
            self._users += 1
            if not self._deferred:
                return
            try:
                self.start()
            except Exception as error:
                _LOG.warning("telemetry cannot be started: %s", error)

    def finish(self) -> None:
        """A cluster that was given this closes."""
        with self._lock:
            self._users -= 1
            last = self._deferred and self._users == 0
        if last:
            self.shutdown()

    def flush(self, timeout: float = GRACE) -> bool:
        """Send what is left, at most `timeout` seconds; whether all was sent."""
        outlets, kept = self.outlets, self._aside
        sent = True
        if outlets is not None and kept is not None:
            try:
                own = Aside()  # or the end would have to wait for what hangs here
            except RuntimeError:  # it is the end
                own = kept
            sent = own.within(timeout, lambda: outlets.flush(timeout))
            if own is not kept:
                own.leave()
        return (self.audit is None or self.audit.flush(timeout)) and sent

    def shutdown(self, timeout: float = GRACE) -> bool:
        """Send what is left and end it; whether that was done in `timeout` seconds.

        It may be started again.
        """
        global _current
        with self._lock:
            if _current is self:
                _current = None
            atexit.unregister(self.shutdown)
            ended = True
            if self._begun and self.outlets is not None:
                self._begun = False
                close = self.outlets.closing()
                self.tracing.use(trace.NoOpTracerProvider())
                if self._aside is not None:
                    ended = self._aside.within(timeout, close)
                    self._aside.leave()
                    self._aside = None
                if self.metrics is not None:
                    self.metrics.use(otel_metrics.NoOpMeterProvider())
        if self.audit is not None:
            ended = self.audit.flush(timeout) and ended
        return ended

    def __enter__(self) -> Telemetry:
        return self.start()

    def __exit__(self, *details: Any) -> None:
        self.shutdown()


_current: Telemetry | None = None
_elsewhere = Metrics()  # one for all: each of its instruments exists once with the global provider


def current() -> Telemetry:
    """What `setup` made last and is not shut down; else one that uses OpenTelemetry's global providers."""
    return _current or Telemetry(OtelTracing(metrics=_elsewhere))


def setup(
    *,
    service_name: str | None = None,
    otlp: bool | str | None = None,
    prometheus: bool | int | str | None = None,
    audit: AuditLog | str | os.PathLike[str] | None = None,
    content: Content | bool | None = None,
    baggage: Iterable[str] = (),
    agents: int | Collection[str] = AGENTS,
    set_global: bool = False,
    start: bool = True,
    default: bool = True,
) -> Telemetry:
    """Send spans and metrics, keep an audit trail.

    Args:
        service_name: what the program is called; by default `OTEL_SERVICE_NAME`.
        otlp: the collector, as `http://host:4318` or `grpc://host:4317`; True: as `OTEL_EXPORTER_OTLP_*`
            say, else this machine; None: if those variables name a collector.
        prometheus: port, or `host:port`, where `/metrics` is served; True: as `OTEL_EXPORTER_PROMETHEUS_*`
            say, else localhost:9464; None: if `OTEL_METRICS_EXPORTER` names it.
        audit: path of the audit trail, or an `AuditLog`.
        content: whether messages are in spans, or how; None: as the standard switch says, which is no.
        baggage: keys of the OpenTelemetry baggage that is sent to endpoints.
        agents: which agents metrics tell apart, or how many.
        set_global: make the providers OpenTelemetry's global ones as well.
        start: open connections and threads now; False: with the first cluster that is given this, until
            the last of them closes.
        default: clusters that are made from now on without a `telemetry` use this.

    Raises:
        ConfigError: an address, number or key of baggage is none, a port is taken, or the trail cannot be
            written.
        ImportError: the extra `otel` is not installed.
    """
    global _current
    if isinstance(agents, str):
        agents = (agents,)
    elif isinstance(agents, int) and agents < 0:
        raise ConfigError(f"{agents} is less than 0", key="telemetry.agents")
    outlets = Outlets.of(service_name=service_name, otlp=otlp, prometheus=prometheus, set_global=set_global)
    # Until they are opened nobody listens.
    tracer = cast(trace.TracerProvider, trace.NoOpTracerProvider())
    tracing = OtelTracing(
        tracer,
        metrics=Metrics(otel_metrics.NoOpMeterProvider(), agents=agents),
        content=content,
        baggage=baggage,
    )
    trail = audit if audit is None or isinstance(audit, AuditLog) else AuditLog(audit)
    telemetry = Telemetry(tracing, audit=trail, outlets=outlets, deferred=not start)
    if start:
        telemetry.start()
    if default:
        _current = telemetry
    return telemetry
