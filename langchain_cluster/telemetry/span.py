"""One span of ours: current while a step runs, ended once, and never a reason for a call to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, set_span_in_context

from langchain_cluster.model.call import Answer, Outcome, Verdict
from langchain_cluster.telemetry import names

NO_HEADERS: Mapping[str, str] = {}
[_CURRENT] = set_span_in_context(INVALID_SPAN, Context())  # under which key a context holds its span


class OtelSpan:
    """One span. Entering it makes it current for a step; `end` ends it, once."""

    __slots__ = ("_ended", "_token", "headers", "span")

    def __init__(self, span: Span, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.span, self.headers = span, headers
        self._token: Any = None
        self._ended = False

    def __enter__(self) -> OtelSpan:
        if self.span is not INVALID_SPAN:  # only metrics are wanted: what is current stays so
            # As `set_span_in_context` does it, in one step.
            self._token = attach(Context({**get_current(), _CURRENT: self.span}))
        return self

    def __exit__(self, *details: Any) -> None:
        if self._token is not None:
            detach(self._token)
            self._token = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended

    def streams(self, stream: Any) -> None:
        """What is answered comes in chunks: of an attempt, see `AttemptSpan`."""

    def end(self, ended: Outcome | Answer | BaseException | str | None) -> None:
        """It is over: with an outcome, an answer, an error, a cache layer; None or an exit for abandoned."""
        if self._ended:
            return
        self._ended = True
        span = self.span
        try:
            self._measure(ended)
            if span is not INVALID_SPAN and span.is_recording():
                self._tell(ended)
        except Exception:
            pass  # whatever telemetry stumbles over, the call goes on, and its span is ended
        span.end()

    def over(self) -> None:
        """It is over, and all is said."""
        if not self._ended:
            self._ended = True
            self.span.end()

    def _measure(self, ended: Any) -> None:
        """Tell the metrics, where they are wanted."""

    def _tell(self, ended: Any) -> None:
        match ended:
            case Exception():
                self._error(type(ended).__name__)
            case str():
                self.span.set_attribute(names.CACHE, ended)
            case _:  # cancelled, closed, interrupted: nobody's fault
                self.span.set_attribute(names.VERDICT, Verdict.ABANDONED.value)

    def _error(self, kind: str) -> None:
        # The error's text may quote the prompt: its kind is enough here.
        self.span.set_attribute(names.ERROR_TYPE, kind)
        self.span.set_status(Status(StatusCode.ERROR, kind))
