"""Which span filled a cache entry, and when: for the link from a hit to it, and for its age.

This process remembers what it filled itself. An answer that another one cached has no link and no age.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from opentelemetry.trace import SpanContext

MOST = 10_000  # entries; about 3 MB


class Filled:
    """The latest span per fingerprint, the most recently filled `MOST` of them."""

    __slots__ = ("_lock", "_spans")

    def __init__(self) -> None:
        self._lock = Lock()
        self._spans: OrderedDict[str, tuple[SpanContext, float]] = OrderedDict()

    def put(self, fingerprint: str, span: SpanContext, at: float) -> None:
        """This span's answer may lie in a cache now."""
        with self._lock:
            self._spans[fingerprint] = (span, at)
            self._spans.move_to_end(fingerprint)
            if len(self._spans) > MOST:
                self._spans.popitem(last=False)

    def get(self, fingerprint: str | None) -> tuple[SpanContext, float] | None:
        """The span and when it was; None when it is not known."""
        return None if fingerprint is None else self._spans.get(fingerprint)
