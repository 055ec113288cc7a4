"""How much one may ask of the admin app: sizes, seconds and rates, each with a safe default."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from langchain_cluster.errors import ConfigError

TOKEN_ENV = "LANGCHAIN_CLUSTER_ADMIN_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits of the admin app; all are > 0.

    Attributes:
        body_bytes: of a request's body.
        body_seconds: in which the whole body has to be there.
        reads_per_minute, writes_per_minute: of one client address. A quarter of them may come at once.
        streams: event streams open at one time, of all clients.
        stream_seconds: after which a stream ends; its client opens another.
        stall_seconds: that a stream's client may leave unread what it is sent.
        every: seconds between two snapshots on a stream.

    Raises:
        ConfigError: a value is not a finite number > 0.
    """

    body_bytes: int = 16_384
    body_seconds: float = 5.0
    reads_per_minute: float = 1200.0
    writes_per_minute: float = 120.0
    streams: int = 32
    stream_seconds: float = 3600.0
    stall_seconds: float = 10.0
    every: float = 1.0

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ConfigError(f"{value!r} is not a finite number > 0", key=f"rules.{spec.name}")
