"""State changes as structured lines through Python's logging: one each, and none for a call that succeeds.

What was said is never in them, and of a provider's error only its kind: its text may quote the prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from re import sub
from typing import Any, Protocol

import orjson
from opentelemetry import trace

from langchain_cluster.errors import ClusterError
from langchain_cluster.model import events
from langchain_cluster.model.call import Answer, AttemptReport, Request
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.plain import kind_of
from langchain_cluster.telemetry.scrub import payer, scrub

LOGGER = "langchain_cluster"
_BAD = (
    events.EndpointRejected,
    events.EndpointEjected,
    events.RetryBudgetEmpty,
    events.CacheFailed,
    events.NotCached,
    events.DiscoveryFailed,
    events.AlertFailed,
    events.ListenerFailed,
    events.ReactionRefused,
)
_BAD_STATES = ("open", "forced_open")
_MOST = 500  # characters of one text
_MOST_REASONS = 256  # told of steps that keep nothing, in all


class Observed(Protocol):
    """What has events to subscribe to: a cluster."""

    events: Any


class EventLog:
    """A listener that logs. Subscribe it, or `attach` one.

    A cache that fails for every call is one line until it has recovered, and so is what a step cannot keep.

    Args:
        logger: its name.
        calls: whether calls that succeed, and attempts, are logged too.
        tracing: what knows the spans of calls, for `JsonFormatter`.
    """

    def __init__(self, logger: str = LOGGER, *, calls: bool = False, tracing: Any = None) -> None:
        self._logger = logging.getLogger(logger)
        self._context_of = getattr(tracing, "context_of", None)
        self._calls = calls
        self._cache_failed = False
        self._not_cached: set[tuple[str, str]] = set()

    def __call__(self, event: events.Event) -> None:
        """Log one event, if it is worth a line."""
        if not self._worth(event):
            return
        level = _level(event)
        if self._logger.isEnabledFor(level):
            told = described(event)
            name = sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
            line = " ".join([name, *(f"{key}={value}" for key, value in told.items())])
            extra: dict[str, Any] = {"event": {"name": name, **told}}
            if self._context_of is not None and (context := self._context_of(event)) is not None:
                extra["span_context"] = context  # a call's own span is not the current one here
            self._logger.log(level, "%s", line, extra=extra)

    def _worth(self, event: events.Event) -> bool:
        if isinstance(event, events.CallEnded):
            return self._calls or (event.error is not None and event.error != "abandoned")
        if isinstance(event, events.AttemptEnded | events.HedgeBegun):
            return self._calls
        if isinstance(event, events.CacheFailed):
            known, self._cache_failed = self._cache_failed, True
            return not known
        if isinstance(event, events.CacheRecovered):
            self._cache_failed = False
        if isinstance(event, events.NotCached):
            told = (event.step, event.reason)
            if told in self._not_cached or len(self._not_cached) >= _MOST_REASONS:
                return False
            self._not_cached.add(told)
        return True


def attach(cluster: Observed, *, logger: str = LOGGER, calls: bool = False) -> Callable[[], None]:
    """Log a cluster's state changes from now on; the result ends that.

    Args:
        logger, calls: see `EventLog`.
    """
    log = EventLog(logger, calls=calls, tracing=getattr(cluster, "tracing", None))
    unsubscribe: Callable[[], None] = cluster.events.subscribe(log)
    return unsubscribe


def _level(event: events.Event) -> int:
    bad = isinstance(event, _BAD)
    if isinstance(event, events.HealthChanged):
        bad = not event.healthy
    elif isinstance(event, events.BreakerChanged):
        bad = event.state in _BAD_STATES
    elif isinstance(event, events.PanicChanged):
        bad = event.panics
    elif isinstance(event, events.BudgetUsed):
        bad = event.part >= 1.0
    elif isinstance(event, events.CallEnded):
        bad = event.error is not None
    return logging.WARNING if bad else logging.INFO


def described(event: events.Event) -> dict[str, Any]:
    """An event's fields as plain data, without `at`, secrets and what was said."""
    told: dict[str, Any] = {}
    for spec in fields(event):
        value = getattr(event, spec.name)
        if spec.name == "at" or value is None:
            continue
        match value:
            case Endpoint():
                if spec.name != "before":  # the same endpoint, described differently
                    told[spec.name] = value.id
            case Request():
                if value.agent is not None:
                    told["agent"] = value.agent
            case Answer():
                told |= {"endpoint": value.endpoint, "source": value.source, "seconds": value.seconds}
            case AttemptReport():
                told |= {"endpoint": value.endpoint, "attempt": value.number, "verdict": value.verdict.value}
                told |= {"seconds": value.seconds, "error": type(value.error).__name__}
            case Enum():
                told[spec.name] = value.value
            case bool() | int() | float():
                told[spec.name] = value
            case str():
                told[spec.name] = scrub(value[:_MOST])
            case tuple():
                told[spec.name] = scrub(repr(value)[:_MOST])
            case _:
                told[spec.name] = type(value).__name__
    if isinstance(event, events.BudgetUsed) and "who" in told:
        told["who"] = payer(event)
    return told


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, message, the event's fields, and the current trace.

    Whatever it formats is scrubbed of what looks like a secret. Of an exception it has the kind, and the
    text only where that quotes nothing.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        event = getattr(record, "event", None)
        if isinstance(event, dict):
            told["event"] = {k: scrub(v) if isinstance(v, str) else v for k, v in event.items()}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            ours = isinstance(error, ClusterError)
            told["error"] = scrub(f"{type(error).__name__}: {error}") if ours else kind_of(error)
        context = getattr(record, "span_context", None) or trace.get_current_span().get_span_context()
        if context.is_valid:
            told["trace_id"] = trace.format_trace_id(context.trace_id)
            told["span_id"] = trace.format_span_id(context.span_id)
        return orjson.dumps(told, default=str).decode()
