"""A span as plain data. The SDK's own costs a call three times as much, for what is seldom asked of it.

It checks and copies every attribute, takes a lock for each, and copies itself when it ends: two spans come
to as much as all the rest of a call. Ours have attributes of our own making, and are told from one thread
at a time. What an exporter gets is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util import types

Finish = Callable[["PlainSpan"], None]


class PlainSpan(Span):
    """A recording span.

    Args:
        finish: told once, when it has ended.
    """

    __slots__ = (
        "_finish",
        "attributes",
        "context",
        "end_time",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "start_time",
        "status",
    )

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        finish: Finish,
    ) -> None:
        self.name, self.context, self.parent, self.kind = name, context, parent, kind
        self.attributes: dict[str, Any] = {} if attributes is None else dict(attributes)
        self.events: list[tuple[str, Mapping[str, Any], int]] = []
        self.links: list[Link] = []
        self.status = _UNSET
        self._finish = finish
        self.end_time: int | None = None
        self.start_time = time.time_ns()

    def get_span_context(self) -> SpanContext:
        """Its ids and flags."""
        return self.context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return self.end_time is None

    def end(self, end_time: int | None = None) -> None:
        """It is over; once."""
        if self.end_time is None:
            self.end_time = time.time_ns() if end_time is None else end_time
            self._finish(self)

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Say more of it."""
        if self.end_time is None:
            self.attributes.update(attributes)

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Say one thing more of it."""
        if self.end_time is None:
            self.attributes[key] = value

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Something happened; `timestamp` in nanoseconds since 1970, now if None."""
        if self.end_time is None:
            at = time.time_ns() if timestamp is None else timestamp
            self.events.append((name, {} if attributes is None else dict(attributes), at))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """It has to do with another span."""
        if self.end_time is None and context.is_valid:
            self.links.append(Link(context, attributes or {}))

    def update_name(self, name: str) -> None:
        """Call it something else."""
        if self.end_time is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """How it ended; OK is final, UNSET says nothing."""
        said = status if isinstance(status, Status) else Status(status, description)
        final = self.end_time is not None or self.status.status_code is StatusCode.OK
        if not final and said.status_code is not StatusCode.UNSET:
            self.status = said

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """An exception passed through it: its kind, as its text may quote anything."""
        told = {"exception.type": type(exception).__qualname__, **(attributes or {})}
        self.add_event("exception", told, timestamp)


_UNSET = Status()
