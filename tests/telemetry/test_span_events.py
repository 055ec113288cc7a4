"""What happens within a call is in its span: waits, retries, circuits; and nothing of it is kept."""

from __future__ import annotations

import asyncio
import gc
from threading import Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tenacity import wait_none

from langchain_cluster import BreakerPolicy, Capacity, ClusteredLLM, Endpoint, Overloaded, Policy, QueuePolicy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import Content, OtelTracing, filled, names
from langchain_cluster.testing import ScriptedModel


class Seen:
    """A provider of its own, and what it was told."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = OtelTracing(provider, **options)

    def named(self, name: str) -> list[Any]:
        found = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: span.start_time)

    def events(self, name: str = names.CALL) -> list[str]:
        return [event.name for span in self.named(name) for event in span.events]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def one(model: Any, seen: Seen, **options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [Endpoint("e", model, capacity=Capacity(max_connections=1))], tracing=seen.tracing, **options
    )


async def test_a_call_that_waits_for_a_place_says_so(seen: Seen) -> None:
    llm = one(ScriptedModel("x", delay=0.05), seen)
    await asyncio.gather(llm.ainvoke("one"), llm.ainvoke("two"))
    (waited,) = seen.named(names.QUEUE)
    assert waited.attributes[names.QUEUE_SECONDS] > 0
    calls = {span.context.span_id for span in seen.named(names.CALL)}
    assert waited.parent.span_id in calls
    assert waited.status.status_code is trace.StatusCode.UNSET
    told = [span.attributes.get(names.QUEUE_SECONDS) for span in seen.named(names.CALL)]
    assert sorted(told, key=lambda seconds: seconds is not None) == [
        None,
        pytest.approx(waited.attributes[names.QUEUE_SECONDS], abs=1.0),
    ]


def test_blocking_calls_say_it_too(seen: Seen) -> None:
    llm = one(ScriptedModel("x", delay=0.05), seen)
    threads = [Thread(target=llm.invoke, args=(f"{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen.named(names.QUEUE)) == 1


async def test_a_call_that_waits_in_vain_is_an_error_there(seen: Seen) -> None:
    llm = one(ScriptedModel("x", delay=1.5), seen, queue=QueuePolicy(timeout=0.02))
    found = await asyncio.gather(llm.ainvoke("one"), llm.ainvoke("two"), return_exceptions=True)
    assert [type(each) for each in found].count(Overloaded) == 1
    (waited,) = seen.named(names.QUEUE)
    assert waited.attributes[names.ERROR_TYPE] == "Overloaded"


async def test_a_call_that_leaves_the_queue_leaves_no_span_open(seen: Seen) -> None:
    llm = one(ScriptedModel("x", delay=0.2), seen)
    first = asyncio.create_task(llm.ainvoke("one"))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(llm.ainvoke("two"))
    await asyncio.sleep(0.02)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    (waited,) = seen.named(names.QUEUE)
    assert waited.attributes[names.VERDICT] == "abandoned"


def test_asking_the_same_endpoint_again_is_a_retry(seen: Seen) -> None:
    one(ScriptedModel(ConnectionError("down"), "x"), seen, policy=Policy(wait=wait_none())).invoke("hello")
    assert seen.events() == [names.EVENT_RETRY]


def test_a_circuit_that_closes_again_is_told_in_the_call_that_closed_it(seen: Seen) -> None:
    llm = one(
        ScriptedModel(ConnectionError("down"), "x"),
        seen,
        policy=Policy(attempts=1),
        breaker=BreakerPolicy(consecutive_failures=1, open_for=0.001),
    )
    with pytest.raises(ConnectionError):
        llm.invoke("one")
    while llm.cluster.pool.get("e").open_until > llm.cluster.clock.now():
        pass
    llm.invoke("two")
    states = [
        [event.attributes[names.EVENT_STATE] for event in span.events] for span in seen.named(names.CALL)
    ]
    assert states == [["open"], ["closed"]]


def test_nothing_grows_with_calls(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled, "MOST", 50)
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel("x")), Endpoint("b", ScriptedModel("x"))],
        tracing=seen.tracing,
        cache=MemoryCache(max_entries=10),
    )
    for n in range(500):
        llm.invoke(f"{n}")
        if n % 100 == 0:
            next(iter(llm.stream(f"left {n}")))
    gc.collect()
    tracing = seen.tracing
    assert len(tracing.calls) == 0
    assert len(tracing.filled._spans) == 50
    assert len(tracing.touched) <= 2
    assert len(tracing._described) == 2


def test_content_of_tools_and_pictures(seen: Seen) -> None:
    from langchain_core.messages import AIMessage, HumanMessage

    call = {"name": "add", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    told = Seen(content=Content())
    llm = one(ScriptedModel(AIMessage("", tool_calls=[call])), told)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    llm.invoke([HumanMessage([{"type": "text", "text": "look"}, picture])])
    (attempt,) = told.named("chat scripted")
    assert '"content":"look"' in attempt.attributes[names.INPUT_MESSAGES]
    assert "base64" not in attempt.attributes[names.INPUT_MESSAGES]
    assert '"name":"add"' in attempt.attributes[names.OUTPUT_MESSAGES]


def test_whatever_telemetry_stumbles_over_the_call_goes_on(seen: Seen) -> None:
    class Broken(Content):
        def said(self, value: Any) -> str | None:
            raise ValueError("broken")

    told = Seen(content=Broken())
    assert one(ScriptedModel("x"), told).invoke("hello").text == "x"
    assert len(told.named("chat scripted")) == 1
