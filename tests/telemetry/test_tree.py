"""One story through every face, as a collector gets it over the wire: exactly this tree.

A failed attempt and one that answers, a hit, a stream that is read to its end, and a call that is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_cluster import ClusteredLLM, Endpoint, Price
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import Telemetry, setup
from langchain_cluster.testing import ScriptedModel
from tests.telemetry import receiver
from tests.telemetry.receiver import Received, plain

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
KINDS, STATUSES = {1: "internal", 3: "client"}, {0: "unset", 2: "error"}
USED = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
CONFIG: Any = {
    "metadata": {"lc_agent_name": "planner"},
    "configurable": {"cluster": {"tenant": "acme"}},
}
SECONDS = "langchain_cluster.first_token_seconds"
Tree = dict[str, Any]


@pytest.fixture(params=["http", "grpc"])
def collector(request: pytest.FixtureRequest) -> Iterator[Received]:
    with getattr(receiver, request.param)() as received:
        yield received


# -- what came --------------------------------------------------------------------------------------


def forest(received: Received) -> list[Tree]:
    """Every span with all that is in it, children inside; ids and times are checked, not shown."""
    spans = received.spans
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "none twice"
    shown = {id: _shown(span) for id, span in by_id.items()}
    roots = []
    for span in spans:
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, "none left open"
        for event in span.events:
            assert span.start_time_unix_nano <= event.time_unix_nano <= span.end_time_unix_nano
        if not span.parent_span_id:
            roots.append(shown[span.span_id])
            continue
        over = by_id[span.parent_span_id]
        assert over.trace_id == span.trace_id
        assert over.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= over.end_time_unix_nano
        shown[span.parent_span_id]["children"].append(shown[span.span_id])
    return roots


def _shown(span: Any) -> Tree:
    attributes = plain(span.attributes)
    if SECONDS in attributes:
        assert attributes[SECONDS] >= 0
        attributes[SECONDS] = "seconds"
    return {
        "name": span.name,
        "kind": KINDS[span.kind],
        "status": (STATUSES[span.status.code], span.status.message),
        "attributes": attributes,
        "events": [(event.name, plain(event.attributes)) for event in span.events],
        "links": len(span.links),
        "children": [],
    }


# -- what is expected -------------------------------------------------------------------------------


def span(name: str, kind: str, attributes: Tree, *children: Tree, **more: Any) -> Tree:
    return {
        "name": name,
        "kind": kind,
        "status": ("unset", ""),
        "attributes": attributes,
        "events": [],
        "links": 0,
        "children": list(children),
        **more,
    }


def call(streaming: bool, attributes: Tree, *children: Tree, **more: Any) -> Tree:
    own = {
        "langchain_cluster.agent": "planner",
        "langchain_cluster.balancer": "peak_ewma",
        "langchain_cluster.streaming": streaming,
        "langchain_cluster.tenant_hash": TENANT,
    }
    return span("langchain_cluster chat", "internal", {**own, **attributes}, *children, **more)


def lookup(layer: str) -> Tree:
    return span("langchain_cluster cache lookup", "internal", {"langchain_cluster.cache": layer})


def attempt(endpoint: str, number: int, verdict: str, attributes: Tree, **more: Any) -> Tree:
    own = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "cluster",
        "gen_ai.request.model": "scripted",
        "langchain_cluster.attempt": number,
        "langchain_cluster.endpoint": endpoint,
        "langchain_cluster.tier": "default",
        "langchain_cluster.verdict": verdict,
    }
    return span("chat scripted", "client", {**own, **attributes}, **more)


def answered(source: str, attempts: int) -> Tree:
    told = {
        "langchain_cluster.attempts": attempts,
        "langchain_cluster.cache": source,
        "langchain_cluster.hedged": False,
        "langchain_cluster.tier": "default",
    }
    if attempts:
        told |= {"langchain_cluster.endpoint": "good", "langchain_cluster.cost_usd": 1.3e-05}
    else:
        told |= {"langchain_cluster.cost_usd": 0.0}
    return told


TENANT = "822b33ad87c1"  # the beginning of the SHA-256 of "acme"
FAILOVER = (
    "langchain_cluster.event.failover",
    {
        "langchain_cluster.endpoint": "good",
        "langchain_cluster.from": "bad",
        "langchain_cluster.verdict": "transient",
    },
)
FIRST_TOKEN = ("langchain_cluster.event.first_token", {})


def good(number: int, *, streaming: bool, endpoint: str = "good") -> Tree:
    told: Tree = {
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5,
    }
    if streaming:
        return attempt(endpoint, number, "ok", {**told, SECONDS: "seconds"}, events=[FIRST_TOKEN])
    return attempt(endpoint, number, "ok", told)


def failed() -> Tree:
    told = {"error.type": "ConnectionError"}
    return attempt("bad", 1, "transient", told, status=("error", "ConnectionError"))


def story(*, streams: bool) -> list[Tree]:
    """What a collector gets of it from a face that streams, or does not."""
    left = attempt("good", 1, "abandoned", {})
    if streams:  # after its first token
        left = attempt("good", 1, "abandoned", {SECONDS: "seconds"}, events=[FIRST_TOKEN])
    return [
        call(
            streams,
            answered("miss", 2),
            lookup("miss"),
            failed(),
            good(2, streaming=streams),
            events=[FAILOVER],
        ),
        call(streams, answered("memory", 0), lookup("memory"), links=1),
        call(True, answered("miss", 1), lookup("miss"), good(1, streaming=True)),
        call(
            streams,
            {
                "langchain_cluster.verdict": "abandoned",
                "langchain_cluster.attempts": 1,
                "langchain_cluster.cache": "miss",
                "langchain_cluster.hedged": False,
            },
            lookup("miss"),
            left,
        ),
    ]


# -- how it is told ---------------------------------------------------------------------------------


def models(telemetry: Telemetry, leaving: Any) -> tuple[ClusteredLLM, ScriptedModel]:
    said = AIMessage("one two", usage_metadata=USED)
    model = ScriptedModel(said, said, leaving)
    bad = Endpoint("bad", ScriptedModel(ConnectionError("down")))
    good = Endpoint("good", model, priority=1, price=Price(1.0, 2.0))
    return ClusteredLLM([bad, good], telemetry=telemetry, cache=MemoryCache(), seed=1), model


async def read(stream: Any) -> None:
    async for _ in stream:
        pass


ASK: dict[str, Callable[[Any, str], Any]] = {
    "invoke": lambda llm, text: llm.invoke(text, CONFIG),
    "stream": lambda llm, text: list(llm.stream(text, CONFIG)),
    "batch": lambda llm, text: llm.batch([text], CONFIG),
    "ainvoke": lambda llm, text: llm.ainvoke(text, CONFIG),
    "astream": lambda llm, text: read(llm.astream(text, CONFIG)),
    "abatch": lambda llm, text: llm.abatch([text], CONFIG),
}


def tell(face: str, telemetry: Telemetry) -> None:
    """Blocking."""
    llm, _ = models(telemetry, "one two three" if face == "stream" else KeyboardInterrupt())
    ask = ASK[face]
    ask(llm, "hello")
    ask(llm, "hello")
    llm.cluster.pool.drain("bad")
    ASK["stream"](llm, "read to its end")
    if face == "stream":
        stream: Any = llm.stream("left", CONFIG)
        next(stream)
        stream.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            ask(llm, "left")


async def atell(face: str, telemetry: Telemetry) -> None:
    """Awaited."""
    llm, model = models(telemetry, "one two three" if face == "astream" else [60.0, "late"])
    ask = ASK[face]
    await ask(llm, "hello")
    await ask(llm, "hello")
    llm.cluster.pool.drain("bad")
    await ASK["astream"](llm, "read to its end")
    if face == "astream":
        stream: Any = llm.astream("left", CONFIG)
        await anext(stream)
        await stream.aclose()
        return
    left = asyncio.create_task(ask(llm, "left"))
    while model.calls < 3:
        await asyncio.sleep(0.001)
    left.cancel()
    with suppress(asyncio.CancelledError):
        await left


@pytest.mark.parametrize("face", ASK)
def test_the_story_is_this_tree(face: str, collector: Received) -> None:
    telemetry = setup(otlp=collector.url, default=False)
    if face.startswith("a"):
        asyncio.run(atell(face, telemetry))
    else:
        tell(face, telemetry)
    assert telemetry.shutdown(30.0)
    assert forest(collector) == story(streams="stream" in face)


@pytest.mark.parametrize("face", ["batch", "abatch"])
def test_calls_of_a_batch_are_trees_of_their_own(face: str, collector: Received) -> None:
    telemetry = setup(otlp=collector.url, default=False)
    llm = ClusteredLLM(
        [Endpoint("good", ScriptedModel(AIMessage("one two", usage_metadata=USED)), price=Price(1.0, 2.0))],
        telemetry=telemetry,
    )
    questions = [f"question {n}" for n in range(8)]
    if face == "batch":
        llm.batch(questions, CONFIG)
    else:
        asyncio.run(llm.abatch(questions, CONFIG))
    assert telemetry.shutdown(30.0)
    assert forest(collector) == [call(False, answered("off", 1), good(1, streaming=False))] * 8
    assert len({span.trace_id for span in collector.spans}) == 8


# -- under an agent ---------------------------------------------------------------------------------


@pytest.mark.parametrize("face", ["invoke", "stream", "messages", "ainvoke", "astream", "amessages"])
def test_the_turns_of_an_agent(face: str, collector: Received) -> None:
    agents = pytest.importorskip("langchain.agents")
    telemetry = setup(otlp=collector.url, default=False)

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    turns = [
        AIMessage(
            "", tool_calls=[{"name": "add", "args": {"a": n, "b": 2}, "id": f"{n}"}], usage_metadata=USED
        )
        for n in (1, 2)
    ]
    bad = ScriptedModel(ConnectionError("down"), turns[1], AIMessage("5", usage_metadata=USED))
    llm = ClusteredLLM(
        [
            Endpoint("bad", bad, price=Price(1.0, 2.0)),
            Endpoint("good", ScriptedModel(turns[0]), priority=1, price=Price(1.0, 2.0)),
        ],
        telemetry=telemetry,
        seed=1,
    )
    agent = agents.create_agent(llm, tools=[add], name="planner")
    asked: Any = {"messages": [("user", "1 + 2 + 2?")]}
    tenant: Any = {"configurable": {"cluster": {"tenant": "acme"}}}
    mode: Any = "messages" if "messages" in face else "updates"
    match face:
        case "invoke":
            agent.invoke(asked, tenant)
        case "ainvoke":
            asyncio.run(agent.ainvoke(asked, tenant))
        case "stream" | "messages":
            list(agent.stream(asked, tenant, stream_mode=mode))
        case _:
            asyncio.run(read(agent.astream(asked, tenant, stream_mode=mode)))
    assert telemetry.shutdown(30.0)
    streams = "messages" in face
    turn = {**answered("off", 1), "langchain_cluster.endpoint": "bad"}
    first = good(2, streaming=streams)
    later = good(1, streaming=streams, endpoint="bad")
    assert forest(collector) == [
        call(streams, answered("off", 2), failed(), first, events=[FAILOVER]),
        call(streams, turn, later),
        call(streams, turn, later),
    ]
