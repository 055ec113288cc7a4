"""What others can see: events, spans, metrics, the audit trail. Only this package knows OpenTelemetry."""

from langchain_cluster.telemetry.audit import AuditLog
from langchain_cluster.telemetry.content import Content
from langchain_cluster.telemetry.fanout import EventFanout
from langchain_cluster.telemetry.metrics import Metrics
from langchain_cluster.telemetry.spans import OtelTracing
from langchain_cluster.telemetry.wiring import Telemetry, setup

__all__ = ["AuditLog", "Content", "EventFanout", "Metrics", "OtelTracing", "Telemetry", "setup"]
