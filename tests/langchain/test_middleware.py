"""`ClusterMiddleware`: an agent's model calls, answered by a cluster under that agent's policy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from langchain_cluster import ClusteredLLM, ClusterExhausted, ConfigError, Endpoint, Policy
from langchain_cluster.agents import ClusterMiddleware
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults

ASKED: Any = {"messages": [HumanMessage("what is the weather in Rome")]}


@tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return f"sunny at {place}"


async def test_the_cluster_answers_instead_of_the_agents_own_model(llm: ClusteredLLM) -> None:
    own = ScriptedModel("never asked")
    agent = create_agent(own, tools=[get_weather], middleware=[ClusterMiddleware(llm)])
    for state in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        assert "the tool answered sunny" in state["messages"][-1].text
    assert own.calls == 0
    assert llm.cluster.stats()["calls"] == 4


async def test_under_the_policy_of_a_named_agent(endpoints: list[Endpoint], server: SimulatedServer) -> None:
    llm = ClusteredLLM(endpoints, agents={"writer": Policy(attempts=2)}, breaker=None)
    server.fail(faults.Status(503))
    for middleware, attempts in (
        (ClusterMiddleware(llm), 3),
        (ClusterMiddleware(llm, "writer"), 2),
        (ClusterMiddleware(llm, "writer", attempts=3), 3),
    ):
        agent = create_agent(ScriptedModel(), tools=[], middleware=[middleware])
        server.clear_log()
        with pytest.raises(ClusterExhausted):
            agent.invoke(ASKED)
        assert server.count() == attempts
        with pytest.raises(ClusterExhausted):
            await agent.ainvoke(ASKED)
        assert server.count() == attempts * 2


def test_what_is_wrong_is_said_at_once(llm: ClusteredLLM) -> None:
    other: Any = ScriptedModel()
    with pytest.raises(ConfigError, match="not a ClusteredLLM"):
        ClusterMiddleware(other)
    with pytest.raises(ConfigError, match="name of an agent"):
        ClusterMiddleware(llm, attempts=1)
    with pytest.raises(ConfigError, match="'attempts'"):
        ClusterMiddleware(llm, "writer", atempts=1)


def test_without_langchain_the_extra_is_named() -> None:
    program = "import sys; sys.modules['langchain'] = None; import langchain_cluster.agents"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert 'pip install "langchain-cluster[agents]"' in ran.stderr
