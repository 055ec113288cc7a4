"""What metrics count, of whom, and how many series they may become."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_cluster import (
    BreakerPolicy,
    Budget,
    Capacity,
    ClusteredLLM,
    Endpoint,
    NoEndpointAvailable,
    Policy,
    Price,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import CallDequeued, CallShed, EndpointEjected
from langchain_cluster.telemetry import Metrics, OtelTracing, Telemetry, names
from langchain_cluster.telemetry.fold import LOST, MOST_WAITING, Fold
from langchain_cluster.telemetry.labels import MOST_SERIES, Bounded, Counts
from langchain_cluster.testing import FakeClock, ScriptedModel
from tests.faces.faces import NAMES, Face

sdk = pytest.importorskip("opentelemetry.sdk.metrics")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")


SAID = AIMessage("one two three", usage_metadata={"input_tokens": 3, "output_tokens": 5, "total_tokens": 8})


class Read:
    """What an in-memory reader finds."""

    def __init__(self, **options: Any) -> None:
        self.reader = export.InMemoryMetricReader()
        self.metrics = Metrics(sdk.MeterProvider([self.reader]), **options)
        self.telemetry = Telemetry(OtelTracing(trace_sdk.TracerProvider(), metrics=self.metrics))

    def all(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        found = [scope.metrics for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for metrics in found for metric in metrics}

    def points(self, name: str) -> list[Any]:
        metric = self.all().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def values(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Values of labels in order of their names -> sum; of a histogram its count."""
        return {
            tuple(value for _, value in sorted(point.attributes.items())): getattr(
                point, "value", getattr(point, "count", None)
            )
            for point in self.points(name)
        }


@pytest.fixture
def read() -> Read:
    return Read()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES[:4])
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


def pair(read: Read, **options: Any) -> ClusteredLLM:
    price = Price(input=1.0, output=2.0)
    return ClusteredLLM(
        [
            Endpoint("bad", ScriptedModel(ConnectionError("down")), price=price),
            Endpoint("good", ScriptedModel(SAID), priority=1, price=price),
        ],
        telemetry=read.telemetry,
        **options,
    )


def test_a_call_that_failed_over_is_counted(face: Face, read: Read) -> None:
    llm = pair(read, cache=MemoryCache())
    face.ask(llm, "hello", {"metadata": {"lc_agent_name": "planner"}})
    face.ask(llm, "hello")
    assert read.values(names.METRIC_REQUESTS) == {("planner", "good", "ok"): 1, ("hit",): 1}
    assert read.values(names.METRIC_ATTEMPTS) == {("bad", "transient"): 1, ("good", "ok"): 1}
    assert read.values(names.METRIC_RETRIES) == {("good", "failover"): 1}
    assert read.values(names.METRIC_CACHE_HITS) == {("memory",): 1}
    assert read.values(names.METRIC_CACHE_MISSES) == {(): 1}
    assert read.values(names.METRIC_REQUEST_DURATION) == {("ok",): 1, ("hit",): 1}
    assert read.values(names.METRIC_CACHE_AGE) == {(): 1}
    assert read.values(names.METRIC_COST) == {("planner", "good"): pytest.approx((3 + 2 * 5) / 1e6)}


def test_attempts_are_measured_as_the_conventions_say(face: Face, read: Read) -> None:
    face.ask(pair(read), "hello")
    points = {point.attributes[names.ENDPOINT]: point for point in read.points(names.METRIC_DURATION)}
    assert dict(points["good"].attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "cluster",
        "gen_ai.request.model": "scripted",
        "langchain_cluster.endpoint": "good",
    }
    assert points["bad"].attributes["error.type"] == "ConnectionError"
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in read.points(names.METRIC_TOKENS)}
    assert tokens == {"input": 3, "output": 5}
    streamed = len(read.points(names.METRIC_FIRST_TOKEN)), len(read.points(names.METRIC_PER_TOKEN))
    assert streamed == ((1, 1) if face.streams else (0, 0))
    assert read.all()[names.METRIC_DURATION].unit == "s"


def test_how_calls_end_badly(face: Face, read: Read) -> None:
    llm = ClusteredLLM(
        [Endpoint("e", ScriptedModel(ConnectionError("down"), "x"))],
        telemetry=read.telemetry,
        breaker=BreakerPolicy(consecutive_failures=1),
        policy=Policy(attempts=1),
    )
    with pytest.raises(ConnectionError):
        face.ask(llm, "hello")
    with pytest.raises(NoEndpointAvailable):
        face.ask(llm, "hello")
    assert read.values(names.METRIC_REQUESTS) == {("failed",): 1, ("no_endpoint",): 1}
    assert read.values(names.METRIC_BREAKER) == {("e",): 2}
    assert read.values(names.METRIC_BREAKER_CHANGES) == {("e", "open"): 1}


async def test_a_cancelled_call_is_counted_and_not_timed(read: Read) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel(delay=30.0))], telemetry=read.telemetry)
    task = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    assert read.values(names.METRIC_IN_FLIGHT) == {("e",): 1}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read.values(names.METRIC_IN_FLIGHT) == {("e",): 0}
    assert read.values(names.METRIC_REQUESTS) == {("abandoned",): 1}
    assert read.values(names.METRIC_ATTEMPTS) == {("e", "abandoned"): 1}
    assert read.points(names.METRIC_DURATION) == []


def test_the_pool_is_looked_at_when_somebody_looks(read: Read) -> None:
    clock = FakeClock()
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel("x"), tier="large"), Endpoint("b", ScriptedModel("x"))],
        telemetry=read.telemetry,
        clock=clock,
    )
    clock.advance(60.0)
    assert read.values(names.METRIC_ROSTER_SIZE) == {("online", "large"): 1, ("online", "default"): 1}
    assert read.values(names.METRIC_ROSTER_AGE) == {(): 60.0}
    llm.cluster.pool.drain("b")
    llm.cluster.pool.remove("a")
    clock.advance(5.0)
    assert read.values(names.METRIC_ROSTER_SIZE) == {("draining", "default"): 1, ("online", "default"): 0}
    assert read.values(names.METRIC_ROSTER_AGE) == {(): 5.0}
    llm.cluster.pool.remove("b")
    assert read.values(names.METRIC_ROSTER_SIZE) == {("online", "default"): 0}, "so that an alert can fire"
    assert read.values(names.METRIC_QUEUE_DEPTH) == {(): 0}


def test_a_cluster_that_is_gone_is_not_looked_at(read: Read) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("x"))], telemetry=read.telemetry)
    llm.invoke("hello")
    assert read.values(names.METRIC_ROSTER_SIZE) != {}
    del llm
    gc.collect()
    assert read.values(names.METRIC_ROSTER_SIZE) == {}


def test_the_retry_budget_shows_how_much_is_spent(read: Read) -> None:
    llm = pair(read, policy=Policy(retry_budget=0.2))
    llm.invoke("hello")
    (spent,) = read.values(names.METRIC_BUDGET).values()
    assert 0.0 < spent < 0.1


def test_what_events_alone_tell(read: Read) -> None:
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel("x"), capacity=Capacity(max_connections=1))], telemetry=read.telemetry
    )
    llm.cluster.events.emit(EndpointEjected(0.0, "a", 30.0, "slow"))
    request: Any = object()
    llm.cluster.events.emit(CallDequeued(0.0, request, "a", 1.5))
    llm.cluster.events.emit(CallShed(0.0, request, "full", 1.0))
    assert read.values(names.METRIC_EJECTIONS) == {("a",): 1}
    assert read.values(names.METRIC_SHED) == {(): 1}
    (waited,) = read.points(names.METRIC_QUEUE_WAIT)
    assert waited.sum == 1.5


def test_ten_thousand_agents_tenants_and_endpoints_stay_under_a_bound() -> None:
    read = Read()
    llm = ClusteredLLM([Endpoint("e0", ScriptedModel("x"))], telemetry=read.telemetry)
    for n in range(10_000):
        if n < 500:
            llm.cluster.pool.replace([Endpoint(f"e{n}", ScriptedModel("x", model_name=f"m{n}"))])
        config: Any = {"metadata": {"lc_agent_name": f"agent-{n}"}}
        config["configurable"] = {"cluster": {"tenant": f"tenant-{n}"}}
        llm.invoke(f"{n}", config)
    found = read.all()
    series = {name: len(list(metric.data.data_points)) for name, metric in found.items()}
    assert sum(series.values()) < 1000, series
    assert max(series.values()) <= 300, series
    assert "tenant" not in str(found)
    assert sum(read.values(names.METRIC_REQUESTS).values()) == 10_000, "and none is lost"


def test_agents_may_be_listed() -> None:
    read = Read(agents=["planner"])
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("x"))], telemetry=read.telemetry)
    for agent in ("critic", "planner", "writer"):
        llm.for_agent(agent).invoke("hello")
    assert read.values(names.METRIC_REQUESTS) == {("planner", "e", "ok"): 1, ("other", "e", "ok"): 2}


def test_a_label_has_so_many_values_and_one_for_the_rest() -> None:
    first = Bounded(2)
    assert [first(value) for value in "abcab"] == ["a", "b", "other", "a", "b"]
    listed = Bounded(["x"], other="_OTHER")
    assert [listed(value) for value in "xy"] == ["x", "_OTHER"]


def test_a_counter_keeps_so_many_sums_and_one_for_the_rest() -> None:
    counts = Counts()
    for n in range(MOST_SERIES + 100):
        counts.add((("n", n),))
    sums = list(counts)
    assert len(sums) == MOST_SERIES
    assert sums[-1] == ({"otel.metric.overflow": True}, 101)


def test_a_measurement_that_cannot_be_worked_off_is_counted() -> None:
    done: list[Any] = []

    def work(measured: Any) -> None:
        if measured == "bad":
            raise ValueError
        done.append(measured)

    fold = Fold(work)
    for measured in ("good", "bad", "good"):
        fold.put(measured)
    fold.now()
    assert (done, fold.lost) == (["good", "good"], 1)


def test_who_brings_a_measurement_too_many_helps_to_work_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    fold = Fold(done.append)
    monkeypatch.setattr(fold, "_wake", lambda: None)
    for n in range(MOST_WAITING + 10):
        fold.put(n)
    assert len(fold._waiting) <= MOST_WAITING
    fold.now()
    assert (done, fold.lost) == (list(range(MOST_WAITING + 10)), 0), "all of them, in order"


def test_measurements_nobody_works_off_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = Fold(lambda measured: None)
    monkeypatch.setattr(fold, "_wake", lambda: None)
    with fold._folding:  # whoever works them off is stuck
        for _ in range(LOST + 10):
            fold.put(None)
        assert (len(fold._waiting), fold.lost) == (LOST, 10)


def test_a_duration_has_the_span_it_was_measured_in_as_its_example() -> None:
    spans = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    processor = pytest.importorskip("opentelemetry.sdk.trace.export").SimpleSpanProcessor
    memory = spans.InMemorySpanExporter()
    provider = trace_sdk.TracerProvider()
    provider.add_span_processor(processor(memory))
    read = Read()
    read.telemetry.tracing.use(provider)
    pair(read).invoke("hello")
    (attempt,) = [s for s in memory.get_finished_spans() if s.attributes.get(names.VERDICT) == "ok"]
    examples = [e for point in read.points(names.METRIC_DURATION) for e in point.exemplars]
    assert attempt.context.span_id in [example.span_id for example in examples]


def test_the_global_provider_is_found_whenever_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.metrics import _internal

    metrics = Metrics()
    assert not metrics.listening
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("x"))], telemetry=Telemetry(OtelTracing(metrics=metrics)))
    llm.invoke("before")
    reader = export.InMemoryMetricReader()
    monkeypatch.setattr(_internal, "_METER_PROVIDER", sdk.MeterProvider([reader]))
    llm.invoke("after")
    assert names.METRIC_REQUESTS in str(reader.get_metrics_data())


def test_a_provider_nobody_reads_is_not_written_to() -> None:
    assert not Metrics(sdk.MeterProvider()).listening


def test_budgets_show_the_largest_part_that_is_spent_and_no_tenant(read: Read) -> None:
    usage = {"input_tokens": 0, "output_tokens": 10, "total_tokens": 10}
    model = ScriptedModel(AIMessage("fine", usage_metadata=usage))
    llm = ClusteredLLM(
        [Endpoint("a", model, price=Price(output=100_000.0))],
        budgets=[Budget(amount=10.0), Budget(amount=4.0, scope="tenant")],
        telemetry=read.telemetry,
        max_tokens=10,
    )
    assert read.values(names.METRIC_MONEY) == {("cluster",): 0.0, ("tenant",): 0.0}
    for tenant in ("acme", "acme", "other"):
        llm.invoke(f"hello {tenant}", {"configurable": {"cluster": {"tenant": tenant}}})
    assert read.values(names.METRIC_MONEY) == {("cluster",): 0.3, ("tenant",): 0.5}
