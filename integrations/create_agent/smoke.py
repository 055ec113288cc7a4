"""Two agents with a tool and a structured answer over a mixed, half-failing pool; exits 1 on any miss."""

import asyncio
import sys
from typing import Any

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.agents import ClusterMiddleware
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults

RUNS = 6


class Report(BaseModel):
    """A weather report."""

    place: str
    degrees: int


@tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return f"sunny at {place}"


def pool(server: SimulatedServer) -> list[Endpoint]:
    """Two endpoints that speak OpenAI's format, and two that speak Anthropic's."""
    endpoints = []
    for name in ("openai-1", "openai-2"):
        spoken = ChatOpenAI(base_url=server.openai_url(name), model="m", api_key=SecretStr("-"))
        endpoints.append(Endpoint(name, model=spoken))
    for name in ("claude-1", "claude-2"):
        given: dict[str, Any] = {"base_url": server.anthropic_url(name), "model": "m", "max_tokens": 1000}
        endpoints.append(Endpoint(name, model=ChatAnthropic(api_key=SecretStr("-"), **given)))
    return endpoints


async def run(server: SimulatedServer) -> int:
    """Run both agents, sync and async, while half the pool answers with 503."""
    for name in ("openai-1", "claude-1"):
        server.fail(faults.Status(503), endpoint=name)
    llm = ClusteredLLM(pool(server), balancer="round_robin", agents={"planner": Policy(attempts=4)})
    async with llm.cluster:
        planner = create_agent(llm, tools=[get_weather], name="planner")
        # An agent whose own model is another: the middleware has the cluster answer, under its own policy.
        reporter = create_agent(
            ScriptedModel("never asked"),
            tools=[],
            response_format=ToolStrategy(Report),
            middleware=[ClusterMiddleware(llm, "reporter", attempts=4)],
        )
        asked: Any = {"messages": [("user", "what is the weather in Rome")]}
        wanted: Any = {"messages": [("user", "give me a Report")]}
        answered = structured = 0
        for _ in range(RUNS):
            for state in (planner.invoke(asked), await planner.ainvoke(asked)):
                answered += "the tool answered sunny" in state["messages"][-1].text
            for state in (reporter.invoke(wanted), await reporter.ainvoke(wanted)):
                structured += isinstance(state.get("structured_response"), Report)
        failed = llm.cluster.stats()["failed"]
    asked_of = {name: server.count(name) for name in ("openai-1", "openai-2", "claude-1", "claude-2")}
    sys.stdout.write(
        f"{answered} of {2 * RUNS} answers with a tool, {structured} of {2 * RUNS} structured;"
        f" {failed} calls failed; requests: {asked_of}\n"
    )
    return 0 if answered == structured == 2 * RUNS and failed == 0 and all(asked_of.values()) else 1


def main() -> int:
    """0 when the promise holds."""
    with SimulatedServer() as server:
        return asyncio.run(run(server))


if __name__ == "__main__":
    sys.exit(main())
