"""A LangGraph graph over three endpoints, one of them failing; exits 1 unless every token came once."""

import asyncio
import sys
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import SecretStr

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer, faults

SAID = "every word of this sentence comes exactly once"
FIRST, *REST = SAID.split()
TOKENS = [FIRST, *(f" {word}" for word in REST)]
CALLS = 12


def build(llm: ClusteredLLM) -> Any:
    """One node that asks. Its code is what it would be with a ChatOpenAI."""

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile()


async def tokens(graph: Any, question: str) -> list[str]:
    """What `stream_mode="messages"` hands out."""
    asked = {"messages": [("user", question)]}
    return [chunk.text async for chunk, _ in graph.astream(asked, stream_mode="messages") if chunk.text]


async def run(server: SimulatedServer) -> int:
    """Ask, with one endpoint down and another resetting connections now and then."""
    names = ("gpu-1", "gpu-2", "gpu-3")
    llm = ClusteredLLM(
        endpoints=[
            Endpoint(
                name,
                model=ChatOpenAI(base_url=server.openai_url(name), model="m", api_key=SecretStr("-")),
            )
            for name in names
        ]
    )
    server.behave(reply=SAID)
    server.fail(faults.Status(503), endpoint="gpu-1")
    server.fail(faults.ResetAfter(0), endpoint="gpu-2", probability=0.5)
    async with llm.cluster:
        graph = build(llm)
        heard = await asyncio.gather(*(tokens(graph, f"question {number}") for number in range(CALLS)))
    whole = sum(said == TOKENS for said in heard)
    tried = {name: server.count(name) for name in names}
    sys.stdout.write(f"{whole} of {CALLS} answers whole, each token once; requests: {tried}\n")
    return 0 if whole == CALLS and tried["gpu-1"] > 0 else 1


def main() -> int:
    """0 when the promise holds."""
    with SimulatedServer() as server:
        return asyncio.run(run(server))


if __name__ == "__main__":
    sys.exit(main())
