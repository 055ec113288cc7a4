"""A span as plain data. The SDK's own costs a call three times as much, for what is seldom asked of it.

It checks and copies every attribute, takes a lock for each, and copies itself when it ends: two spans come
to as much as all the rest of a call. Ours have attributes of our own making, are told from one thread at a
time, and are themselves what an exporter gets when they have ended. To be imported only where the SDK is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util import types

Finish = Callable[[ReadableSpan], None]


class PlainSpan(ReadableSpan, Span):
    """A recording span, and when it has ended a readable one.

    Args:
        attributes: become its own: nobody else may change them.
        finish: told once, when it has ended.
    """

    __slots__ = ("context",)  # read more often than a property is worth

    # What few spans have; `ReadableSpan` reads all of it by these names.
    _events: Any = ()
    _links: Any = ()
    _end_time: int | None = None
    _instrumentation_info: Any = None
    _status: Status = Status()
    _attributes: Any
    _context: SpanContext

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        finish: Finish,
        resource: Any,
        scope: Any,
    ) -> None:
        self.context = self._context = context  # type: ignore[misc]  # a property of `ReadableSpan`
        self._name, self._parent, self._kind = name, parent, kind
        self._attributes, self._finish = attributes, finish
        self._resource, self._instrumentation_scope = resource, scope
        self._start_time = time.time_ns()

    def get_span_context(self) -> SpanContext:
        """Its ids and flags."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return self._end_time is None

    def end(self, end_time: int | None = None) -> None:
        """It is over; once."""
        if self._end_time is None:
            self._end_time = time.time_ns() if end_time is None else end_time
            self._finish(self)

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Say more of it."""
        if self._end_time is None:
            self._attributes.update(attributes)

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Say one thing more of it."""
        if self._end_time is None:
            self._attributes[key] = value

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Something happened; `timestamp` in nanoseconds since 1970, now if None."""
        if self._end_time is None:
            at = time.time_ns() if timestamp is None else timestamp
            self._events = (*self._events, Event(name, {} if attributes is None else dict(attributes), at))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """It has to do with another span."""
        if self._end_time is None and context.is_valid:
            self._links = (*self._links, Link(context, attributes or {}))

    def update_name(self, name: str) -> None:
        """Call it something else."""
        if self._end_time is None:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """How it ended; OK is final, UNSET says nothing."""
        said = status if isinstance(status, Status) else Status(status, description)
        final = self._end_time is not None or self._status.status_code is StatusCode.OK
        if not final and said.status_code is not StatusCode.UNSET:
            self._status = said

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


def fits() -> bool:
    """Whether this release keeps nothing of a readable span or of a context that is not in ours."""
    ours = PlainSpan("", INVALID_SPAN_CONTEXT, None, SpanKind.INTERNAL, {}, print, None, None)
    kept = all(hasattr(ours, name) for name in vars(ReadableSpan("", resource=Resource({}))))
    flags, state = TraceFlags(TraceFlags.SAMPLED), TraceState.get_default()
    return kept and tuple(SpanContext(1, 2, False, flags, state)) == (1, 2, False, flags, state, True)
