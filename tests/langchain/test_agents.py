"""`create_agent` with the cluster in place of a ChatOpenAI: tools, structured output, middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_cluster import (
    ClusteredLLM,
    ClusterExhausted,
    DeadlineExceeded,
    Endpoint,
    NoEndpointAvailable,
    Policy,
)
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.langchain.alike import Watcher, alike

ASKED: Any = {"messages": [HumanMessage("what is the weather in Rome")]}


@tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return f"sunny at {place}"


async def test_an_agents_second_run_is_answered_by_the_cache_alone() -> None:
    def decide(messages: list[Any]) -> Any:
        if isinstance(messages[-1], ToolMessage):
            return f"It is {messages[-1].text}."
        return AIMessage("", tool_calls=[{"name": "get_weather", "args": {"place": "Rome"}, "id": "1"}])

    model = ScriptedModel(decide)
    llm = ClusteredLLM([Endpoint("a", model)], cache=True)
    agent = create_agent(llm, tools=[get_weather])
    told = agent.invoke(ASKED)["messages"][-1].text
    assert model.calls == 2
    runs = [agent.invoke(ASKED), await agent.ainvoke(ASKED)]
    chunks = [chunk for chunk, _ in agent.stream(ASKED, stream_mode="messages")]
    assert model.calls == 2
    for state in runs:
        answers = [message for message in state["messages"] if isinstance(message, AIMessage)]
        assert [answer.response_metadata["cluster"]["cache"] for answer in answers] == ["memory", "memory"]
        assert answers[-1].text == told == "It is sunny at Rome."
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, AIMessage)) == told


class Report(BaseModel):
    """A weather report."""

    place: str
    degrees: int


# -- tools ------------------------------------------------------------------------------------------


async def test_an_agent_uses_its_tools(any_model: BaseChatModel) -> None:
    agent = create_agent(any_model, tools=[get_weather])
    for state in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        kinds = [type(message) for message in state["messages"]]
        assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
        assert state["messages"][1].tool_calls[0]["name"] == "get_weather"
        assert state["messages"][2].text.startswith("sunny at ")
        assert "the tool answered sunny at" in state["messages"][3].text


async def test_an_agent_says_what_it_says_with_a_bare_model(llm: ClusteredLLM, bare: BaseChatModel) -> None:
    ours, theirs = (create_agent(model, tools=[get_weather], name="planner") for model in (llm, bare))
    assert alike(ours.invoke(ASKED)["messages"]) == alike(theirs.invoke(ASKED)["messages"])
    mode: Any
    for mode in ("values", "updates", "messages"):
        mine = steps(list(ours.stream(ASKED, stream_mode=mode)))
        assert mine == steps(list(theirs.stream(ASKED, stream_mode=mode)))
        assert mine == steps([step async for step in ours.astream(ASKED, stream_mode=mode)])


def steps(given: list[Any]) -> Any:
    """What was said in each step; of chunks, what they say together."""
    told = []
    for step in given:
        if isinstance(step, tuple):
            message, metadata = step
            told.append((type(message).__name__, alike(message.text), metadata["langgraph_node"]))
        else:
            told.append(alike(step))
    return [entry for entry in told if not (isinstance(entry, tuple) and not entry[1])]


async def test_an_agent_whose_endpoints_fail_goes_on(llm: ClusteredLLM, server: SimulatedServer) -> None:
    server.fail(faults.Status(503), endpoint="gpu-1")
    server.fail(faults.ResetAfter(0), endpoint="gpu-2")
    agent = create_agent(llm, tools=[get_weather])
    for _ in range(3):
        assert "the tool answered" in (await agent.ainvoke(ASKED))["messages"][-1].text
        assert list(agent.stream(ASKED, stream_mode="messages"))


async def test_a_call_of_an_agent_is_one_run(llm: ClusteredLLM, server: SimulatedServer) -> None:
    watcher = Watcher()
    agent = create_agent(llm, tools=[get_weather])
    await agent.ainvoke(ASKED, {"callbacks": [watcher]})
    assert watcher.told == ["start", "end"] * 2
    assert server.count() == 2


# -- structured output --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, AutoStrategy, None])
@pytest.mark.parametrize("tools", [[], [get_weather]], ids=["no tools", "a tool"])
async def test_an_agent_answers_in_a_structure(
    tools: list[Any], strategy: Any, any_model: BaseChatModel
) -> None:
    wanted = Report if strategy is None else strategy(Report)
    agent = create_agent(any_model, tools=tools, response_format=wanted)
    asked: Any = {"messages": [HumanMessage("give me a Report")]}
    for state in (agent.invoke(asked), await agent.ainvoke(asked)):
        assert isinstance(state["structured_response"], Report)
    streamed = list(agent.stream(asked, stream_mode="values"))
    assert isinstance(streamed[-1]["structured_response"], Report)
    streamed = [state async for state in agent.astream(asked, stream_mode="values")]
    assert isinstance(streamed[-1]["structured_response"], Report)


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_the_endpoint_is_sent_what_a_bare_model_sends(
    strategy: Any, llm: ClusteredLLM, bare: BaseChatModel, server: SimulatedServer
) -> None:
    sent = []
    for model in (llm, bare):
        server.clear_log()
        create_agent(model, tools=[get_weather], response_format=strategy(Report)).invoke(ASKED)
        sent.append([alike(without_ids(seen.body)) for seen in server.seen()])
    assert sent[0] == sent[1]


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in ("id", "tool_call_id")}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


def test_the_strategy_follows_the_profile_of_all(server: SimulatedServer) -> None:
    """A pool can answer by the provider's own means when every endpoint can."""
    able, unable = {"structured_output": True, "tool_calling": True}, {"structured_output": False}

    def asked_for(*profiles: Any) -> bool:
        models = [ScriptedModel('{"place": "Rome", "degrees": 3}', profile=profile) for profile in profiles]
        llm = ClusteredLLM([Endpoint(str(n), model) for n, model in enumerate(models)])
        try:
            create_agent(llm, response_format=Report).invoke(ASKED, {"recursion_limit": 5})
        except Exception:  # a scripted model calls no tool, so the other strategy finds nothing
            pass
        return any("response_format" in arguments for model in models for arguments in model.arguments)

    assert asked_for(able, able)
    assert not asked_for(able, unable)
    assert not asked_for(able, None)


# -- middleware that asks whether it is a chat model ---------------------------------------------------


async def test_summarization_takes_it(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says("a short summary")
    summarize = SummarizationMiddleware(model=llm, trigger=("messages", 4), keep=("messages", 1))
    agent = create_agent(llm, tools=[], middleware=[summarize])
    long: Any = {"messages": [HumanMessage(f"message {number}") for number in range(8)]}
    for state in (agent.invoke(long), await agent.ainvoke(long)):
        assert "a short summary" in state["messages"][0].text
        assert len(state["messages"]) < 8


async def test_a_summary_that_overflows_is_asked_for_again_in_short(
    llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says("a short summary")
    summarize = SummarizationMiddleware(model=llm, trigger=("messages", 4), keep=("messages", 1))
    agent = create_agent(llm, tools=[], middleware=[summarize])
    long: Any = {"messages": [HumanMessage(f"message {number}") for number in range(8)]}
    for style in ("openai", "vllm", "anthropic"):
        server.clear_log()
        server.fail(faults.ContextOverflow(style), times=1)  # type: ignore[arg-type]
        assert "a short summary" in agent.invoke(long)["messages"][0].text
        assert server.count() == 3
        server.fail(faults.ContextOverflow(style), times=1)  # type: ignore[arg-type]
        assert "a short summary" in (await agent.ainvoke(long))["messages"][0].text


async def test_an_overflow_has_langchains_class(llm: ClusteredLLM, server: SimulatedServer) -> None:
    server.fail(faults.ContextOverflow())
    with pytest.raises(ContextOverflowError):
        llm.invoke("hi")
    with pytest.raises(ContextOverflowError):
        await llm.ainvoke("hi")
    with pytest.raises(ContextOverflowError):
        list(llm.stream("hi"))
    assert server.count() == 3


@tool
def get_news(topic: str) -> str:
    """The news."""
    return f"no news of {topic}"


async def test_tool_selection_takes_it(llm: ClusteredLLM, server: SimulatedServer) -> None:
    select = LLMToolSelectorMiddleware(model=llm, max_tools=1)
    agent = create_agent(llm, tools=[get_weather, get_news], middleware=[select])
    for state in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        assert state["messages"][-1].text
    tools = [len(seen.body.get("tools") or ()) for seen in server.seen()]
    assert 1 in tools, "the agent was given the one that was selected"
    assert 2 not in tools


async def test_tool_emulation_takes_it(llm: ClusteredLLM, server: SimulatedServer) -> None:
    agent = create_agent(llm, tools=[get_weather], middleware=[LLMToolEmulator(model=llm)])
    for state in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        (emulated,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert "says:" in emulated.text, "a model said it, and not the tool"


async def test_what_was_tried_everywhere_is_not_tried_again(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints, policy=Policy(attempts=3), breaker=None)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, on_failure="error")
    agent = create_agent(llm, tools=[], middleware=[retry])
    with pytest.raises(ClusterExhausted):
        agent.invoke(ASKED)
    with pytest.raises(ClusterExhausted):
        await agent.ainvoke(ASKED)
    assert server.count() == 6


async def test_nor_when_nobody_may_be_asked_or_time_is_over(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    llm = ClusteredLLM(endpoints, timeout=0.2)
    asked: list[int] = []

    class Counts(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            asked.append(1)
            return handler(request)

    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, on_failure="error")
    agent = create_agent(llm, tools=[], middleware=[retry, Counts()])
    server.fail(faults.Hang())
    with pytest.raises(DeadlineExceeded):
        agent.invoke(ASKED)
    assert len(asked) == 1
    for endpoint in endpoints:
        llm.cluster.pool.force_open(endpoint.id)
    with pytest.raises(NoEndpointAvailable):
        agent.invoke(ASKED)
    assert len(asked) == 2


async def test_a_fallback_model_of_langchain_follows(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints)
    agent = create_agent(llm, middleware=[ModelFallbackMiddleware(ScriptedModel("rescued"))])
    assert agent.invoke(ASKED)["messages"][-1].text == "rescued"
    assert (await agent.ainvoke(ASKED))["messages"][-1].text == "rescued"


# -- a policy per agent -------------------------------------------------------------------------------


def one_try(endpoints: list[Endpoint], agents: dict[str, Any]) -> ClusteredLLM:
    return ClusteredLLM(endpoints, policy=Policy(attempts=3), agents=agents, breaker=None)


async def test_the_name_of_an_agent_finds_its_policy(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    llm = one_try(endpoints, {"planner": Policy(attempts=1)})
    server.fail(faults.Status(503))
    planner, writer = (create_agent(llm, tools=[], name=name) for name in ("planner", "writer"))
    for agent, attempts in ((planner, 1), (writer, 3)):
        server.clear_log()
        with pytest.raises(Exception, match=r"503|no endpoint gave"):
            agent.invoke(ASKED)
        assert server.count() == attempts
        with pytest.raises(Exception, match=r"503|no endpoint gave"):
            await agent.ainvoke(ASKED)
        assert server.count() == attempts * 2
        with pytest.raises(Exception, match=r"503|no endpoint gave"):
            list(agent.stream(ASKED, stream_mode="messages"))
        assert server.count() == attempts * 3


async def test_a_view_for_an_agent_comes_before_its_name(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    llm = one_try(endpoints, {"planner": Policy(attempts=1)})
    server.fail(faults.Status(503))
    agent = create_agent(llm.for_agent("thinker", attempts=2), tools=[], name="planner")
    with pytest.raises(ClusterExhausted):
        agent.invoke(ASKED)
    assert server.count() == 2
    with pytest.raises(ClusterExhausted):
        await agent.ainvoke(ASKED, {"configurable": {"cluster": {"policy": {"attempts": 3}}}})
    assert server.count() == 2 + 3, "what the call says comes before all"


async def test_a_call_of_an_agent_may_bring_its_settings(llm: ClusteredLLM, server: SimulatedServer) -> None:
    agent = create_agent(llm, tools=[get_weather])
    server.fail(faults.Hang())
    config: Any = {"configurable": {"cluster": {"timeout": 0.2}}}
    with pytest.raises(TimeoutError):
        agent.invoke(ASKED, config)
    with pytest.raises(TimeoutError):
        await agent.ainvoke(ASKED, config)
