"""What others can see: events, spans. Only this package knows OpenTelemetry."""

from langchain_cluster.telemetry.fanout import EventFanout
from langchain_cluster.telemetry.spans import OtelTracing

__all__ = ["EventFanout", "OtelTracing"]
