"""LangGraph with the cluster in a node: each token once, whichever way the node asks."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from langchain_cluster import ClusteredLLM, ClusterExhausted, DeadlineExceeded, Endpoint, Policy
from langchain_cluster.testing import SimulatedServer, faults
from tests.langchain.alike import Watcher, alike

SAID = "here I am at last"
WORDS = ["here", " I", " am", " at", " last"]
ASKED: Any = {"messages": [HumanMessage("where are you")]}


@tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return f"sunny at {place}"


def graph(model: Any, asks: str, **options: Any) -> Any:
    """One node that asks in one way, without handing its config on: context variables carry it."""

    def blocking(state: Any) -> Any:
        if asks == "stream":
            merged: Any = None
            for chunk in model.stream(state["messages"]):
                merged = chunk if merged is None else merged + chunk
            return {"messages": [merged]}
        return {"messages": [model.invoke(state["messages"])]}

    async def awaited(state: Any) -> Any:
        if asks == "astream":
            merged: Any = None
            async for chunk in model.astream(state["messages"]):
                merged = chunk if merged is None else merged + chunk
            return {"messages": [merged]}
        return {"messages": [await model.ainvoke(state["messages"])]}

    built: Any = StateGraph(MessagesState)
    built.add_node("ask", awaited if asks.startswith("a") else blocking, **options.pop("node", {}))
    built.add_edge(START, "ask")
    built.add_edge("ask", END)
    return built.compile(**options)


async def run(made: Any, asks: str, mode: Any, config: Any = None) -> list[Any]:
    if asks.startswith("a"):
        return [step async for step in made.astream(ASKED, config, stream_mode=mode)]
    return list(made.stream(ASKED, config, stream_mode=mode))


@pytest.mark.parametrize("asks", ["invoke", "stream", "ainvoke", "astream"])
async def test_each_token_comes_once(
    asks: str, llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    ours, theirs = [await run(graph(model, asks), asks, "messages") for model in (llm, bare)]
    assert [message.text for message, _ in ours if message.text] == WORDS
    assert [message.text for message, _ in theirs if message.text] == WORDS
    assert [metadata["langgraph_node"] for _, metadata in ours] == ["ask"] * len(ours)
    assert len({message.id for message, _ in ours}) == 1, "all chunks belong to one message"


@pytest.mark.parametrize("asks", ["invoke", "stream", "ainvoke", "astream"])
async def test_states_are_those_of_a_bare_model(
    asks: str, llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    for mode in ("values", "updates"):
        ours, theirs = [alike(await run(graph(model, asks), asks, mode)) for model in (llm, bare)]
        for told in (ours, theirs):
            drop(told, "chunk_position")
        assert ours == theirs


def drop(value: Any, name: str) -> None:
    if isinstance(value, dict):
        value.pop(name, None)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        drop(inner, name)


@pytest.mark.parametrize("asks", ["invoke", "ainvoke"])
async def test_a_mixed_pool_streams_each_token_once(
    asks: str, models: dict[str, Any], server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    both = [Endpoint("gpu-2", models["gpu-2"]), Endpoint("claude", models["claude"])]
    llm = ClusteredLLM(both, balancer="round_robin")
    for _ in both:
        told = await run(graph(llm, asks), asks, "messages")
        assert "".join(message.text for message, _ in told) == SAID
    assert server.count("gpu-2") == server.count("claude") == 1


@pytest.mark.parametrize("asks", ["invoke", "ainvoke"])
async def test_a_failover_is_not_seen_in_the_tokens(
    asks: str, llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    server.fail(faults.ResetAfter(0), times=1)
    server.fail(faults.Status(503), times=1)
    told = await run(graph(llm, asks), asks, "messages")
    assert [message.text for message, _ in told if message.text] == WORDS


@pytest.mark.parametrize("asks", ["invoke", "ainvoke"])
async def test_a_hit_streams_too(
    asks: str, models: dict[str, Any], server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    llm = ClusteredLLM([Endpoint("gpu-1", models["gpu-1"])], cache=True)
    for _ in range(2):
        told = await run(graph(llm, asks), asks, "messages")
        assert "".join(message.text for message, _ in told) == SAID
    assert server.count() == 1


@pytest.mark.parametrize("asks", ["invoke", "ainvoke"])
async def test_the_thread_is_the_key(
    asks: str, endpoints: list[Endpoint], says: Callable[[Any], None]
) -> None:
    says(SAID)
    keys: list[Any] = []

    class Picks:
        """A balancer that keeps what it was asked."""

        name = "picks"

        def pick(self, candidates: Any, request: Any, now: float, rng: Any) -> Any:
            keys.append(request.key)
            return candidates[0]

    llm = ClusteredLLM(endpoints, balancer=Picks())
    made = graph(llm, asks, checkpointer=InMemorySaver())
    await run(made, asks, "values", {"configurable": {"thread_id": "t-1"}})
    own = {"configurable": {"thread_id": "t-1", "cluster": {"key": "mine"}}}
    await run(made, asks, "values", own)
    assert keys == ["t-1", "mine"]


async def test_events_of_a_graph(llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]) -> None:
    says(SAID)
    heard = []
    for model in (llm, bare):
        events = [event async for event in graph(model, "ainvoke").astream_events(ASKED, version="v2")]
        heard.append([event["event"] for event in events])
        tokens = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
        assert [token for token in tokens if token] == WORDS
    assert heard[0] == heard[1]


async def test_a_nodes_retry_does_not_ask_everybody_again(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints, policy=Policy(attempts=3), breaker=None)
    retried = {"retry_policy": RetryPolicy(max_attempts=3, initial_interval=0.0, jitter=False)}
    for asks in ("invoke", "ainvoke"):
        with pytest.raises(ClusterExhausted):
            await run(graph(llm, asks, node=retried), asks, "values")
    assert server.count() == 2 * 3
    server.heal()
    server.fail(faults.Hang())
    server.clear_log()
    hasty = ClusteredLLM(endpoints, timeout=0.2)
    with pytest.raises(DeadlineExceeded):
        await run(graph(hasty, "invoke", node=retried), "invoke", "values")
    assert server.count() <= 3


async def test_nodes_side_by_side(llm: ClusteredLLM, server: SimulatedServer) -> None:
    built: Any = StateGraph(MessagesState)
    for name in ("left", "middle", "right"):

        async def ask(state: Any, said: str = name) -> Any:
            return {"messages": [await llm.ainvoke(said)]}

        built.add_node(name, ask)
        built.add_edge(START, name)
    made = built.compile()
    watcher = Watcher()
    state = await made.ainvoke(ASKED, {"callbacks": [watcher]})
    said = sorted(message.text.split()[-1] for message in state["messages"][1:])
    assert said == ["left", "middle", "right"]
    assert (watcher.told.count("start"), watcher.told.count("end")) == (3, 3)


async def test_the_older_agent_of_langgraph(any_model: BaseChatModel) -> None:
    prebuilt = pytest.importorskip("langgraph.prebuilt")
    make = getattr(prebuilt, "create_react_agent", None)
    if make is None:
        pytest.skip("this langgraph has none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = make(any_model, tools=[get_weather])
    asked: Any = {"messages": [HumanMessage("the weather in Rome")]}
    for state in (agent.invoke(asked), await agent.ainvoke(asked)):
        kinds = [type(message) for message in state["messages"]]
        assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    told = list(agent.stream(asked, stream_mode="messages"))
    said = "".join(m.text for m, about in told if about["langgraph_node"] == "agent")
    assert said.count("the tool answered") == 1


async def test_a_call_that_is_cancelled_in_a_graph_leaves_nothing(
    llm: ClusteredLLM, server: SimulatedServer
) -> None:
    server.behave(between_tokens=0.05, tokens=200)
    try:
        task = asyncio.create_task(run(graph(llm, "ainvoke"), "ainvoke", "messages"))
        while not server.in_flight():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.wait_until(lambda: server.in_flight() == 0, within=5.0)
    finally:
        server.behave(between_tokens=0.0, tokens=None)
    assert llm.cluster.in_flight == 0
