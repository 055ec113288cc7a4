"""What a health check found, and how often to look: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, model_validator

from langchain_cluster.model.endpoint import Load
from langchain_cluster.model.strict import Seconds, Strict


@dataclass(frozen=True, slots=True)
class Health:
    """What one check of one endpoint found.

    `reason` says what was seen, also when all is well. `load`: what the endpoint reported of itself,
    where the check reads that. `seconds` the check took.
    """

    ok: bool
    reason: str = ""
    load: Load | None = None
    seconds: float = 0.0


class HealthPolicy(Strict):
    """How often every endpoint is looked at, and how many looks in a row change our mind.

    An endpoint that dies is out after `fall` failed checks, so within `fall * interval` plus the time
    the last one takes: 8.5 s with the defaults. One that is back gets calls after `rise` good ones.

    Args:
        check: a `HealthCheck`, or the name of one; None looks at heartbeats only.
        interval: seconds between two checks of one endpoint.
        jitter: the part of an interval, 0-1, over which first checks are spread at random, so that a
            fleet that starts at one moment does not ask at one moment. The pace after that is even.
        timeout: seconds a check may take before it counts as failed; the check's own if None.
        rise: good checks in a row that bring an endpoint back.
        fall: failed checks in a row that take it out.
        concurrency: checks at a time.
        heartbeat_timeout: seconds of silence that turn an endpoint offline which has sent a heartbeat
            before. None: silence means nothing.
    """

    check: Any = "http"
    interval: Seconds = 2.5
    jitter: float = Field(1.0, ge=0, le=1)
    timeout: Seconds | None = None
    rise: int = Field(2, ge=1, strict=True)
    fall: int = Field(3, ge=1, strict=True)
    concurrency: int = Field(64, ge=1, strict=True)
    heartbeat_timeout: Seconds | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.check is None and self.heartbeat_timeout is None:
            raise ValueError("neither a check nor a heartbeat_timeout: there is nothing to look at")
        return self
