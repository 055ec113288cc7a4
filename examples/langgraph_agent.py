"""An agent with a tool, streamed, under a policy of its own: python examples/langgraph_agent.py"""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.testing import SimulatedServer, faults


@tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return f"sunny at {place}"


with SimulatedServer() as server:
    server.fail(faults.Status(503), endpoint="gpu-1")
    endpoints = [
        Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))
        for name in ("gpu-1", "gpu-2")
    ]
    llm = ClusteredLLM(endpoints, agents={"planner": Policy(attempts=2, timeout=30.0)})  # seconds
    agent = create_agent(llm, tools=[get_weather], name="planner")

    with llm.cluster:
        question = {"messages": [("user", "what is the weather in Rome")]}
        for message, metadata in agent.stream(question, stream_mode="messages"):
            if message.text:
                print(f"{metadata['langgraph_node']:6}{message.text!r}")
        stats = llm.cluster.stats()
        print(f"{stats['calls']} calls, {stats['attempts']} attempts, {stats['failed']} failed")
