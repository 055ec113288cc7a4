"""An endpoint dies, is drained by itself, and comes back: python examples/alerts.py"""

import time

from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, HealthPolicy
from langchain_cluster.model.events import ReactionTaken
from langchain_cluster.telemetry.alerts import Alerts, EndpointDown
from langchain_cluster.testing import SimulatedServer, faults


def waited_for(what, seconds=20.0):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)


def listen(event):
    if isinstance(event, ReactionTaken):
        print(f"{'took back' if event.undone else 'reacted'}: {event.action} {event.subject}")


with SimulatedServer() as server:
    notices = []
    llm = ClusteredLLM(
        [
            Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))
            for name in ("gpu-1", "gpu-2")
        ],
        health=HealthPolicy(check="http", interval=0.1, fall=2, rise=2),
        alerts=Alerts(
            [EndpointDown(for_seconds=0.5, resolve_after=0.5, react="drain")],
            [print, notices.append],
            every=0.1,
        ),
    )
    with llm.cluster as cluster:
        cluster.events.subscribe(listen)
        print(llm.invoke("hello").response_metadata["cluster"]["endpoint"], "answered")
        server.fail(faults.Status(503), endpoint="gpu-1", on="everything")
        waited_for(lambda: len(notices) == 1)
        print([llm.invoke("hello").response_metadata["cluster"]["endpoint"] for _ in range(4)])
        server.heal("gpu-1")
        waited_for(lambda: len(notices) == 2)
        print(cluster.pool.get("gpu-1").status.value)
