"""Watch a circuit open and close: python examples/events.py"""

import time

from langchain_openai import ChatOpenAI

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint
from langchain_cluster.model.events import BreakerChanged
from langchain_cluster.testing import SimulatedServer, faults

with SimulatedServer() as server:
    llm = ClusteredLLM(
        [
            Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))
            for name in ("gpu-1", "gpu-2")
        ],
        balancer="round_robin",
        breaker=BreakerPolicy(consecutive_failures=3, open_for=0.5),  # in a row, seconds
    )

    def listen(event: object) -> None:
        if isinstance(event, BreakerChanged):
            print(f"{event.endpoint}: {event.before} -> {event.state} ({event.reason})")

    llm.cluster.events.subscribe(listen)
    server.fail(faults.Status(500), endpoint="gpu-1", times=3)  # after three failures it is well again
    end = time.monotonic() + 10.0
    member = llm.cluster.pool.get("gpu-1")
    while member.served == 0 and time.monotonic() < end:
        llm.invoke("hello")
        time.sleep(0.02)
    print(member)
    stats = llm.cluster.stats()
    print(f"{stats['calls']} calls, {stats['failed']} failed, {stats['attempts']} attempts")
    llm.cluster.close()
