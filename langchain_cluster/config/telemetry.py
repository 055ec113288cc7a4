"""Where spans, metrics and the audit trail go, as it is written in a file; opened when the cluster starts."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Strict
from langchain_cluster.telemetry import AuditLog, Content, Telemetry, setup


class AuditConfig(Strict):
    """The audit trail."""

    path: str = Field(description="of the file; {pid} stands for the process")
    max_bytes: int | None = Field(64_000_000, ge=1000, strict=True, description="from which on it is rotated")
    keep: int = Field(10, ge=1, strict=True, description="rotated files")
    chain: bool = Field(False, description="whether lines are chained by their hashes")

    def make(self) -> AuditLog:
        """A new one."""
        return AuditLog(self.path, max_bytes=self.max_bytes, keep=self.keep, chain=self.chain)


class TelemetryConfig(Strict):
    """What `telemetry.setup` takes; what is left out is as the OTEL_* variables say."""

    service_name: str | None = None
    otlp: bool | str | None = Field(None, description="http://host:4318, grpc://host:4317, or true")
    prometheus: bool | int | str | None = Field(None, description="port, host:port, or true")
    content: bool | None = Field(None, description="whether messages are in spans")
    max_content: int = Field(4096, ge=1, strict=True, description="characters of one message")
    baggage: tuple[str, ...] = Field((), description="keys of the baggage that is sent to endpoints")
    agents: int | tuple[str, ...] = Field(20, description="which agents metrics tell apart, or how many")
    set_global: bool = False
    audit: AuditConfig | None = None

    def make(self) -> Telemetry:
        """Nothing is opened before the cluster that is given it starts, but the audit trail's file.

        Raises:
            ConfigError: an address is none, the trail cannot be written.
        """
        content: Any = Content(self.max_content) if self.content else self.content
        try:
            return setup(
                service_name=self.service_name,
                otlp=self.otlp,
                prometheus=self.prometheus,
                content=content,
                baggage=self.baggage,
                agents=self.agents,
                set_global=self.set_global,
                audit=None if self.audit is None else self.audit.make(),
                start=False,
                default=False,
            )
        except ConfigError as error:
            key = (error.key or "").removeprefix("telemetry.")
            raise ConfigError(error.problem, key=key, valid=error.valid) from None
