"""`astream_events` and `stream_events`, every version: the events of a bare ChatOpenAI, up to ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer, faults
from tests.langchain.alike import alike

SAID = "here I am at last"
PROMPT = ChatPromptTemplate([("user", "{question}")])
ASKED = {"question": "where are you"}


def get_weather(place: str) -> str:
    """The weather.

    Args:
        place: where.
    """
    return place


def without(value: Any, *names: str) -> Any:
    if isinstance(value, dict):
        return {key: without(inner, *names) for key, inner in value.items() if key not in names}
    if isinstance(value, list):
        return [without(inner, *names) for inner in value]
    return value


def quiet(events: list[Any]) -> list[Any]:
    """Without chunks that say nothing, and without what a chunk says of its place."""
    told = without(alike(events), "chunk_position", "response_metadata", "metadata")
    return [
        event
        for event in told
        if not (
            isinstance(event, dict)
            and str(event.get("event")).endswith("_stream")
            and isinstance(event.get("data", {}).get("chunk"), dict)
            and not event["data"]["chunk"].get("content")
        )
    ]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("program", ["model", "chain"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
async def test_the_events_of_a_stream(
    program: str, version: Any, llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    heard = []
    for model in (llm, bare):
        asked: Any = ASKED if program == "chain" else "where are you"
        made: Any = PROMPT | model | StrOutputParser() if program == "chain" else model
        heard.append(quiet([event async for event in made.astream_events(asked, version=version)]))
    assert heard[0] == heard[1]
    kind = "on_chat_model_stream"
    tokens = [e["data"]["chunk"] for e in heard[0] if e["event"] == kind and e["data"].get("chunk")]
    assert [token["content"] for token in tokens if token["content"]] == ["here", " I", " am", " at", " last"]


def protocol(events: list[Any]) -> Any:
    """v3: the protocol's events, without what only one of them may add."""
    return without(alike(events), "metadata", "response_metadata")


pytestmark = pytest.mark.filterwarnings("ignore:.*is in beta")


async def test_the_events_of_version_3(
    llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    awaited, blocking = [], []
    for model in (llm, bare):
        stream = await model.astream_events("where are you", version="v3")
        awaited.append(protocol([event async for event in stream]))
        blocking.append(protocol(list(model.stream_events("where are you", version="v3"))))
    assert awaited[0] == awaited[1]
    assert blocking[0] == blocking[1]
    assert blocking[0] == awaited[0]
    assert "last" in repr(awaited[0])


async def test_the_text_of_version_3(
    llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    for model in (llm, bare):
        stream: Any = model.stream_events("where are you", version="v3")
        assert "".join(stream.text) == SAID
        astream: Any = await model.astream_events("where are you", version="v3")
        assert "".join([token async for token in astream.text]) == SAID


async def test_tool_calls_as_events(llm: ClusteredLLM, bare: BaseChatModel, server: SimulatedServer) -> None:
    heard = []
    for model in (llm, bare):
        bound = model.bind_tools([get_weather], tool_choice="any")
        events = [e async for e in bound.astream_events("the weather in Rome", version="v2")]
        (ended,) = [e for e in events if e["event"] == "on_chat_model_end"]
        heard.append([(call["name"], call["args"]) for call in ended["data"]["output"].tool_calls])
    assert heard[0] == heard[1]
    assert heard[0][0][0] == "get_weather"


async def test_events_of_a_call_that_failed_over(
    llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    server.fail(faults.ResetAfter(0), times=1)
    events = [event async for event in llm.astream_events("hi", version="v2")]
    names = [event["event"] for event in events]
    assert (names.count("on_chat_model_start"), names.count("on_chat_model_end")) == (1, 1)
    said = "".join(e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream")
    assert said == SAID
    assert events[-1]["data"]["output"].response_metadata["cluster"]["attempts"] == 2


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
async def test_settings_of_a_call_reach_the_cluster(
    version: Any, endpoints: list[Endpoint], says: Any
) -> None:
    says(SAID)
    heard: list[Any] = []

    class Picks:
        """A balancer that keeps what it was asked."""

        name = "picks"

        def pick(self, candidates: Any, request: Any, now: float, rng: Any) -> Any:
            heard.append(request)
            return candidates[0]

    llm = ClusteredLLM(endpoints, balancer=Picks())
    config: Any = {"configurable": {"cluster": {"key": "session-1"}}}
    events: Any = llm.astream_events("hi", config, version=version)
    if version == "v3":
        events = await events
    [event async for event in events]
    assert [request.key for request in heard] == ["session-1"]
    if version == "v3":
        list(llm.stream_events("hi", config, version="v3"))
        assert [request.key for request in heard] == ["session-1"] * 2


async def test_events_that_nobody_waits_for_leave_nothing_behind(llm: ClusteredLLM, server: Any) -> None:
    server.behave(between_tokens=0.05, tokens=200)
    try:
        events = llm.astream_events("hi", version="v2")
        async for event in events:
            if event["event"] == "on_chat_model_stream":
                break
        await events.aclose()
        assert server.wait_until(lambda: server.in_flight() == 0, within=5.0)
    finally:
        server.behave(between_tokens=0.0, tokens=None)
    assert server.wait_until(lambda: llm.cluster.in_flight == 0, within=5.0)
