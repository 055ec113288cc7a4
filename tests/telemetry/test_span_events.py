"""What happens within a call is in its span: waits, retries, circuits; and nothing of it is kept."""

from __future__ import annotations

import asyncio
import gc
import json
from threading import Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tenacity import wait_none

from langchain_cluster import (
    BreakerPolicy,
    Capacity,
    ClusteredLLM,
    ConfigError,
    Endpoint,
    Overloaded,
    Policy,
    QueuePolicy,
    StreamInterrupted,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import Content, OtelTracing, filled, names
from langchain_cluster.testing import ScriptedModel, SimulatedServer


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


def test_content_of_a_stream_is_what_came_of_it() -> None:
    told = Seen(content=Content())
    llm = one(ScriptedModel("one two", "one two", ["one ", ConnectionError("cut")]), told)
    list(llm.stream("hello"))
    left = llm.stream("hello")
    next(left)
    left.close()
    with pytest.raises(StreamInterrupted):
        list(llm.stream("hello"))
    whole, begun, broken = (
        json.loads(a.attributes[names.OUTPUT_MESSAGES]) for a in told.named("chat scripted")
    )
    said = {"role": "assistant", "parts": [{"type": "text", "content": "one two"}], "finish_reason": "stop"}
    assert whole == [said]
    assert [each[0]["parts"][0]["content"].strip() for each in (begun, broken)] == ["one", "one"]


def test_content_has_the_shape_of_the_conventions() -> None:
    from langchain_core.messages import AIMessage, ToolMessage

    call = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    told = Seen(content=Content())
    one(ScriptedModel("2"), told).invoke(
        [AIMessage("", tool_calls=[call]), ToolMessage("2", tool_call_id="c1")]
    )
    (attempt,) = told.named("chat scripted")
    assert json.loads(attempt.attributes[names.INPUT_MESSAGES]) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 1}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "2"}]},
    ]
    short = Content(max_chars=3).wrote([AIMessage("", tool_calls=[call])])
    assert json.loads(str(short))[0]["parts"][0]["arguments"] == '{"a… [4 characters more]'
    with pytest.raises(ConfigError, match="less than 1"):
        Content(max_chars=0)


def test_an_attempt_says_what_its_model_is_set_to(seen: Seen) -> None:
    openai = pytest.importorskip("langchain_openai")
    with SimulatedServer() as server:
        model = openai.ChatOpenAI(
            base_url=server.openai_url("e"),
            model="m",
            api_key="-",
            temperature=0.5,
            max_tokens=7,
            stop=["SECRET"],
        )
        llm = one(model.bind(seed=4), seen)
        llm.invoke("hello", temperature=1.0)
        list(llm.stream("hello"))
    asked, streamed = (dict(each.attributes) for each in seen.named("chat m"))
    set_to = {names.REQUEST_TEMPERATURE: 1.0, names.REQUEST_MAX_TOKENS: 7, names.REQUEST_SEED: 4}
    assert {name: asked[name] for name in set_to} == set_to
    assert streamed[names.REQUEST_TEMPERATURE] == 0.5
    assert streamed[names.RESPONSE_MODEL] == "m"
    assert streamed[names.FINISH_REASONS] == ("stop",)
    assert "SECRET" not in str(asked)


def test_a_call_that_failed_says_how_far_it_came(seen: Seen) -> None:
    llm = one(ScriptedModel(ConnectionError("down")), seen, cache=MemoryCache(), policy=Policy(attempts=1))
    with pytest.raises(ConnectionError):
        llm.invoke("hello", {"configurable": {"cluster": {"tier": "default"}}})
    (call,) = seen.named(names.CALL)
    known = {names.ATTEMPTS: 1, names.CACHE: "miss", names.HEDGED: False, names.TIER: "default"}
    assert {name: call.attributes[name] for name in known} == known


def test_whatever_telemetry_stumbles_over_the_call_goes_on(seen: Seen) -> None:
    class Broken(Content):
        def said(self, value: Any) -> str | None:
            raise ValueError("broken")

    told = Seen(content=Broken())
    assert one(ScriptedModel("x"), told).invoke("hello").text == "x"
    assert len(told.named("chat scripted")) == 1
