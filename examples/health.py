"""One of three servers dies while nobody calls, and comes back: python examples/health.py

Simulated servers stand in for yours; the pace is quick so that you need not wait.
"""

import time

from langchain_openai import ChatOpenAI

from langchain_cluster import Cluster, ClusteredLLM, Endpoint, HealthPolicy
from langchain_cluster.model.events import HealthChanged
from langchain_cluster.testing import SimulatedServer, faults

server = SimulatedServer().start()
names = ["gpu-1", "gpu-2", "gpu-3"]
cluster = Cluster(
    [Endpoint(n, ChatOpenAI(base_url=server.openai_url(n), model="m", api_key="-")) for n in names],
    health=HealthPolicy(check="http", interval=0.2),  # the default is 2.5 s
)
began = time.monotonic()


def tell(event):
    if isinstance(event, HealthChanged):
        state = "back" if event.healthy else "out"
        print(f"{time.monotonic() - began:.1f} s: {event.endpoint} is {state} ({event.reason})")


def wait_until(healthy):
    while cluster.pool.get("gpu-2").healthy is not healthy:
        time.sleep(0.01)


cluster.events.subscribe(tell)
with cluster:
    print(f"an endpoint that dies is out within {cluster.health.detects_within:.1f} s")
    server.fail(faults.Status(503), endpoint="gpu-2", on="everything")
    wait_until(False)

    llm = ClusteredLLM(cluster=cluster)
    answers = [llm.invoke("Who are you?").response_metadata["cluster"] for _ in range(10)]
    print("answered by", sorted({facts["endpoint"] for facts in answers}))
    print("attempts that failed:", sum(facts["attempts"] - 1 for facts in answers))

    server.heal("gpu-2")
    wait_until(True)
server.stop()
