"""Calls and attempts as OpenTelemetry metrics. What they count is decided here; `gauges` says what is now.

A call pays for two tuples; sums and histograms are worked out behind it (see `fold`). No metric
knows a tenant, and an agent or an endpoint beyond the first ones is `other` (see `labels`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from threading import Lock
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext

from langchain_cluster.model.call import Answer, Outcome, Verdict
from langchain_cluster.model.events import (
    BreakerChanged,
    CallDequeued,
    CallShed,
    EndpointEjected,
    Event,
)
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.fold import Fold
from langchain_cluster.telemetry.gauges import Gauges
from langchain_cluster.telemetry.instruments import COUNTERS, HISTOGRAMS, LOST
from langchain_cluster.telemetry.labels import Bounded, Counts

_OUTCOMES = {
    "NoEndpointAvailable": "no_endpoint",
    "ClusterExhausted": "exhausted",
    "Overloaded": "overloaded",
    "BudgetExceeded": "over_budget",
    "DeadlineExceeded": "deadline",
    "StreamInterrupted": "interrupted",
}
_internal = getattr(metrics, "_internal", None)
_LABELLED = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.SERVER_ADDRESS, names.SERVER_PORT)
AGENTS, ENDPOINTS, MODELS, ERRORS, TIERS = 20, 100, 50, 40, 20


class Metrics:
    """Writes to a meter provider.

    Args:
        provider: a meter provider; the global one, whenever it is set, if None.
        agents: which agents are told apart, or how many of the first that come.
        endpoints: how many endpoints are told apart.
    """

    def __init__(
        self,
        provider: metrics.MeterProvider | None = None,
        *,
        agents: int | Collection[str] = AGENTS,
        endpoints: int = ENDPOINTS,
    ) -> None:
        self._provider = provider
        self._nothing_configured = "OTEL_PYTHON_METER_PROVIDER" not in os.environ
        self._agent, self._endpoint = Bounded(agents), Bounded(endpoints)
        self._model, self._tier = Bounded(MODELS), Bounded(TIERS)
        self._error = Bounded(ERRORS, other="_OTHER")  # the conventions' word
        self._counts: dict[str, Counts] = {}
        self._histograms: dict[str, Histogram] = {}
        self._labels: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
        self._fold = Fold(self._record)
        # Bound once, as each call leaves them there.
        self._called, self._attempted = self._count_call, self._count_attempt
        self.gauges = Gauges(self._endpoint, self._tier)
        self._made: Any = None
        self._lock = Lock()

    @property
    def listening(self) -> bool:
        """Whether a provider of metrics is there that somebody reads."""
        provider: Any = self._provider
        if provider is None:
            provider = getattr(_internal, "_METER_PROVIDER", None)  # `get_meter_provider` would make a proxy
            if provider is None:
                if self._nothing_configured:
                    return False
                provider = metrics.get_meter_provider()
        if provider is self._made:
            return True
        if isinstance(provider, metrics.NoOpMeterProvider) or type(provider).__name__.startswith("_Proxy"):
            return False
        readers = getattr(provider, "_metric_readers", None)
        if readers is not None and not readers:
            return False  # the SDK's own, and nobody reads
        self._make(provider)
        return True

    def use(self, provider: metrics.MeterProvider) -> None:
        """Write to this one from now on, and begin to count anew."""
        self._provider = provider

    def _make(self, provider: metrics.MeterProvider) -> None:
        with self._lock:
            if self._made is provider:
                return
            meter = provider.get_meter(names.SCOPE)
            for name, unit, about, bounds in HISTOGRAMS:
                try:
                    made = meter.create_histogram(
                        name, unit, about, explicit_bucket_boundaries_advisory=bounds
                    )
                except TypeError:  # an older SDK
                    made = meter.create_histogram(name, unit, about)
                self._histograms[name] = made
            # Instruments that are read come before those that are written, in the order they were made:
            # whoever collects works off here what was left in the calls, and then finds it in the others.
            meter.create_observable_counter(names.METRIC_DROPPED, [self._collected], "{measurement}", LOST)
            for name, unit, about in COUNTERS:
                counts = self._counts[name] = Counts()
                meter.create_observable_counter(name, [_observe(counts)], unit, about)
            self.gauges.make(meter)
            self._made = provider

    def _collected(self, options: CallbackOptions) -> Iterable[Observation]:
        self._fold.now()
        yield Observation(self._fold.lost)

    def count(self, name: str, *labels: tuple[str, Any], by: float = 1) -> None:
        """Add to one of the counters."""
        self._counts[name].add(labels, by)

    # -- what spans tell ----------------------------------------------------------------------------

    def called(
        self, agent: str | None, ended: Any, seconds: float, age: float | None, context: SpanContext
    ) -> None:
        """A call ended: with an answer, an error, or abandoned; after `seconds`; a hit is `age` old."""
        count = self._called
        if type(ended) is not Answer:
            self._fold.put((count, context, outcome_of(ended), agent, None, None, None, seconds, age))
            return
        # Not the answer itself: what waits here would keep it alive.
        how, where, cost = outcome_of(ended), ended.endpoint, ended.cost
        self._fold.put((count, context, how, agent, where, ended.source, cost, seconds, age))

    def attempted(
        self, endpoint: Any, facts: dict[str, Any], outcome: Outcome | None, context: SpanContext
    ) -> None:
        """An attempt ended; None: it was left. `facts` are the attributes of its span."""
        if outcome is None or outcome.verdict is Verdict.ABANDONED:
            self._fold.put((self._attempted, context, endpoint.id, facts, Verdict.ABANDONED, *_UNTIMED))
            return
        verdict, error, usage = outcome.verdict, None, outcome.usage
        if verdict is not Verdict.OK:
            error = str(type(outcome.error).__name__ if outcome.status is None else outcome.status)
        tokens = None if usage is None else (usage.input_tokens, usage.output_tokens)
        seconds, first = outcome.seconds, outcome.first_token_seconds
        count = self._attempted
        self._fold.put((count, context, endpoint.id, facts, verdict, seconds, error, tokens, first))

    def again(self, kind: str, endpoint: str) -> None:
        """A further attempt began: a "retry" at the same endpoint, a "failover", or a "hedge"."""
        labels = (names.ENDPOINT, self._endpoint(endpoint))
        if kind == "hedge":
            self.count(names.METRIC_HEDGES, labels)
        else:
            self.count(names.METRIC_RETRIES, (names.LABEL_KIND, kind), labels)

    # -- what events tell ---------------------------------------------------------------------------

    def heard(self, event: Event) -> None:
        """What happens outside of a call's own spans."""
        match event:
            case EndpointEjected():
                self.count(names.METRIC_EJECTIONS, (names.ENDPOINT, self._endpoint(event.endpoint)))
            case BreakerChanged():
                labels = (names.ENDPOINT, self._endpoint(event.endpoint)), (names.EVENT_STATE, event.state)
                self.count(names.METRIC_BREAKER_CHANGES, *labels)
            case CallDequeued():
                self._fold.put((self._waited, None, event.seconds))
            case CallShed():
                self.count(names.METRIC_SHED)

    # -- behind the calls ---------------------------------------------------------------------------

    def _labels_of(self, name: str, facts: dict[str, Any]) -> dict[str, Any]:
        place = (name, facts[names.OPERATION])
        known = self._labels.get(place)
        # The attributes, not the endpoint: that would keep its model, and what it is connected to, alive.
        if known is not None and (known[0] is facts or name == self._endpoint.other):
            return known[1]
        labels = {key: facts[key] for key in _LABELLED if key in facts} | {names.ENDPOINT: name}
        if names.REQUEST_MODEL in labels:
            labels[names.REQUEST_MODEL] = self._model(labels[names.REQUEST_MODEL])
        if name == self._endpoint.other:
            labels = {key: labels[key] for key in (names.OPERATION, names.ENDPOINT)}
        self._labels[place] = (facts, labels)
        return labels

    def _record(self, measured: tuple[Any, ...]) -> None:
        # What is current while it is recorded becomes its example: the span it was measured in.
        count, context, *told = measured
        token = None
        if context is not None and context.is_valid:
            token = otel_context.attach(trace.set_span_in_context(NonRecordingSpan(context)))
        try:
            count(*told)
        finally:
            if token is not None:
                otel_context.detach(token)

    def _waited(self, seconds: float) -> None:
        self._histograms[names.METRIC_QUEUE_WAIT].record(max(0.0, seconds), {})

    def _count_call(
        self,
        outcome: str,
        agent: str | None,
        endpoint: str | None,
        source: str | None,
        cost: float | None,
        seconds: float,
        age: float | None,
    ) -> None:
        whose: tuple[tuple[str, Any], ...] = ()
        if agent is not None:
            whose = ((names.AGENT, self._agent(agent)),)
        if endpoint is not None:
            whose = ((names.ENDPOINT, self._endpoint(endpoint)), *whose)
        if source == "miss":
            self.count(names.METRIC_CACHE_MISSES)
        elif source is not None and source != "off":
            self.count(names.METRIC_CACHE_HITS, (names.LABEL_LAYER, source))
        if cost:
            self.count(names.METRIC_COST, *whose, by=cost)
        self.count(names.METRIC_REQUESTS, (names.LABEL_OUTCOME, outcome), *whose)
        made = self._histograms
        made[names.METRIC_REQUEST_DURATION].record(max(0.0, seconds), {names.LABEL_OUTCOME: outcome})
        if age is not None:
            made[names.METRIC_CACHE_AGE].record(age, {})

    def _count_attempt(
        self,
        endpoint: str,
        facts: dict[str, Any],
        verdict: Verdict,
        seconds: float | None,
        error: str | None,
        tokens: tuple[int, int] | None,
        first: float | None,
    ) -> None:
        name = self._endpoint(endpoint)
        self.count(names.METRIC_ATTEMPTS, (names.ENDPOINT, name), (names.VERDICT, verdict.value))
        if seconds is None:
            return
        labels, made = self._labels_of(name, facts), self._histograms
        told = labels if error is None else labels | {names.ERROR_TYPE: self._error(error)}
        made[names.METRIC_DURATION].record(max(0.0, seconds), told)
        if tokens is not None:
            for kind, number in zip(("input", "output"), tokens, strict=True):
                made[names.METRIC_TOKENS].record(number, labels | {names.LABEL_TOKEN_TYPE: kind})
        if first is not None and error is None:
            made[names.METRIC_FIRST_TOKEN].record(max(0.0, first), labels)
            if tokens is not None and tokens[1] > 1:
                made[names.METRIC_PER_TOKEN].record(max(0.0, seconds - first) / (tokens[1] - 1), labels)


_UNTIMED = (None, None, None, None)


def outcome_of(ended: Any) -> str:
    """One word for how a call ended."""
    if isinstance(ended, Answer):
        if ended.degraded is not None:
            return "degraded"
        return "ok" if ended.source in ("miss", "off") else "hit"
    if isinstance(ended, Exception):
        return _OUTCOMES.get(type(ended).__name__, "failed")
    return "abandoned"


def _observe(counts: Counts) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(value, labels) for labels, value in counts]
