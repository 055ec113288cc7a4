"""One chat model over two servers: python examples/quickstart.py [URL ...]

Without urls, a simulated server stands in for yours.
"""

import sys

from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer, faults

simulated = SimulatedServer().start()
urls = sys.argv[1:] or [simulated.openai_url("gpu-1"), simulated.openai_url("gpu-2")]

llm = ClusteredLLM(
    endpoints=[Endpoint(url, model=ChatOpenAI(base_url=url, model="m", api_key="-")) for url in urls],
    cache=True,
)
print(llm.invoke("What is a circuit breaker?").content)

simulated.fail(faults.Status(503), endpoint="gpu-1")  # one of them is down: nobody notices
for chunk in llm.stream("And what does it protect?"):
    print(chunk.content, end="", flush=True)
print()

again = llm.invoke("What is a circuit breaker?")  # a question that was answered before
print(again.response_metadata["cluster"])
llm.cluster.close()
