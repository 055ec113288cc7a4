"""A stream that breaks, before its first token and after it: python examples/streaming.py"""

from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, StreamInterrupted
from langchain_cluster.testing import SimulatedServer, faults

with SimulatedServer() as server:
    llm = ClusteredLLM(
        [
            Endpoint(
                name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"), priority=level
            )
            for level, name in enumerate(("first", "standby"))
        ]
    )

    server.fail(faults.ResetAfter(tokens=0), endpoint="first", times=1)
    print("broken before the first token:", "".join(chunk.text for chunk in llm.stream("Count to three.")))

    server.fail(faults.CutAfter(tokens=3), endpoint="first", times=1)
    try:
        for chunk in llm.stream("Count to three."):
            print(chunk.text, end="", flush=True)
    except StreamInterrupted as error:
        print(f" ... {error}")
        print("what came:", error.partial.text)
    llm.cluster.close()
