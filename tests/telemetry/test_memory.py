"""An hour of traffic, told by a clock that is moved by hand: with everything on, nothing of ours piles up."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import langchain_cluster
from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, Policy, Price
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model import cache_key
from langchain_cluster.telemetry import AuditLog, Metrics, OtelTracing, Telemetry, filled
from langchain_cluster.telemetry.alerts import Alerts
from langchain_cluster.telemetry.logs import JsonFormatter, attach
from langchain_cluster.testing import FakeClock, ScriptedModel

trace_sdk = pytest.importorskip("opentelemetry.sdk.trace")
trace_export = pytest.importorskip("opentelemetry.sdk.trace.export")
metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics")
metrics_export = pytest.importorskip("opentelemetry.sdk.metrics.export")

MINUTES, CALLS = (
    60,
    40,
)  # of traffic, and calls in each: of every face, of ever new tenants, agents, endpoints
SETTLED = 15  # minutes until what is bounded is full
HOME = str(Path(langchain_cluster.__file__).parent)


class Dropping(trace_export.SpanExporter):  # type: ignore[misc]
    """Takes spans, and keeps none."""

    def export(self, spans: Any) -> Any:
        return trace_export.SpanExportResult.SUCCESS


class Kept(logging.Handler):
    """Formats as a real one would, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)
        self.lines += 1


@pytest.fixture
def log() -> Iterator[Kept]:
    kept, logger = Kept(), logging.getLogger("langchain_cluster")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(kept)
    logger.setLevel(logging.NOTSET)
    logger.propagate = before


def ours() -> Counter[str]:
    """How many objects of our own classes there are."""
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).startswith("langchain_cluster"):
            found[f"{kind.__module__}.{kind.__qualname__}"] += 1
    return found


def fleet(minute: int) -> list[Endpoint]:
    """Pods come and go: one of the four is another one each minute, and one of them fails now and then."""
    flaky = ScriptedModel(*["yes"] * 6, *[lambda _: ConnectionError("down")] * 6)
    names = [f"pod-{minute + n}" for n in range(4)]
    models = [flaky, *(ScriptedModel("yes and no") for _ in range(3))]
    return [Endpoint(name, model, price=Price(1.0, 1.0)) for name, model in zip(names, models, strict=True)]


class Hour:
    """The traffic."""

    def __init__(self, folder: Path) -> None:
        provider = trace_sdk.TracerProvider()
        provider.add_span_processor(trace_export.BatchSpanProcessor(Dropping()))
        self.reader = metrics_export.InMemoryMetricReader()
        self.clock = FakeClock()
        tracing = OtelTracing(
            provider,
            metrics=Metrics(metrics_sdk.MeterProvider([self.reader]), agents=5, endpoints=5),
            content=True,
            now=self.clock.now,
        )
        self.trail = AuditLog(folder / "audit.jsonl", chain=True, max_bytes=20_000, keep=2)
        self.llm = ClusteredLLM(
            fleet(0),
            telemetry=Telemetry(tracing, audit=self.trail),
            cache=MemoryCache(max_entries=50),
            alerts=Alerts(),
            breaker=BreakerPolicy(consecutive_failures=3, open_for=10.0),
            policy=Policy(attempts=3, wait=lambda _: 0.0),
            clock=self.clock,
            seed=1,
        )
        attach(self.llm.cluster, calls=True)
        self.provider, self.numbers = provider, itertools.count()
        self.heard = self.failed = 0

    async def listen(self) -> None:
        async for _ in self.llm.cluster.events:
            self.heard += 1

    async def call(self, face: int, number: int) -> None:
        config: Any = {
            "metadata": {"lc_agent_name": f"agent-{number}"},
            "configurable": {"cluster": {"tenant": f"tenant-{number}"}},
        }
        question = f"question {number if number % 3 else number // 3}"
        try:
            match face:
                case 0:
                    self.llm.invoke(question, config)
                case 1:
                    await self.llm.ainvoke(question, config)
                case 2:
                    list(self.llm.stream(question, config))
                case 3:
                    async for _ in self.llm.astream(question, config):
                        pass
                case _:
                    left = self.llm.astream(question, config)
                    await anext(left)
                    await left.aclose()  # type: ignore[attr-defined]
        except Exception:
            self.failed += 1

    async def minute(self, minute: int) -> None:
        cluster = self.llm.cluster
        cluster.pool.replace(fleet(minute))
        for n in range(CALLS):
            await self.call(n % 5, next(self.numbers))
            self.clock.advance(60.0 / CALLS)
            if n % 8 == 0 and cluster.alerts is not None:
                cluster.alerts.look()
        await asyncio.sleep(0)
        self.reader.get_metrics_data()
        self.provider.force_flush()
        assert self.trail.flush(30.0)


async def test_an_hour_leaves_nothing_behind(
    tmp_path: Path, log: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filled, "MOST", 50)  # 10,000 in earnest, which an hour here would not fill
    monkeypatch.setattr(logging.getLogger("langchain_cluster"), "handlers", [log])  # pytest keeps records
    hour = Hour(tmp_path)
    tracemalloc.start(1)
    for n in range(10_000):
        cache_key.cache_key(f"{n}", "m", "d")  # the last few thousand tenants are known, whoever they are
    reading = asyncio.create_task(hour.listen())
    try:
        for minute in range(SETTLED + 1):
            await hour.minute(minute)
        counted, before = ours(), tracemalloc.take_snapshot()
        for minute in range(SETTLED + 1, MINUTES):
            await hour.minute(minute)
        now, after = ours(), tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
        reading.cancel()
        hour.llm.cluster.close()
        hour.provider.shutdown()
        hour.trail.close()
    more = {kind: count - counted[kind] for kind, count in now.items() if count > counted[kind] + 40}
    assert more == {}, "as many objects of every class after an hour as after a quarter"
    here = [tracemalloc.Filter(True, f"{HOME}/*")]
    changes = after.filter_traces(here).compare_to(before.filter_traces(here), "lineno")
    grown = {str(change.traceback[0]): change.size_diff for change in changes if change.size_diff > 20_000}
    assert grown == {}
    assert sum(change.size_diff for change in changes) < 100_000
    assert hour.heard > MINUTES * CALLS, "everything was on"
    assert hour.failed < MINUTES * CALLS / 2
    assert log.lines > MINUTES * CALLS
    assert len(list(tmp_path.iterdir())) == 4, "three files of the trail, and the note of its ends"
