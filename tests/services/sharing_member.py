"""One worker of a fleet of which one endpoint is down: python sharing_member.py VALKEY|- NAMESPACE PAUSE

It says "ready", waits for a line, makes calls for some seconds with a pause between them, and prints how
many attempts and calls failed.
"""

from __future__ import annotations

import json
import sys
import time

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.model.events import AttemptEnded, Event
from langchain_cluster.sharing import RedisSharing
from langchain_cluster.testing import ScriptedModel

SECONDS = 10.0

if __name__ == "__main__":
    valkey, namespace, pause = sys.argv[1:]
    down = Endpoint("gpu-1", ScriptedModel(ConnectionError("refused")), url="http://10.0.0.1:8000")
    well = [Endpoint(f"gpu-{n}", ScriptedModel("hello"), url=f"http://10.0.0.{n}:8000") for n in (2, 3, 4)]
    sharing = None if valkey == "-" else RedisSharing(valkey, namespace=namespace)
    llm = ClusteredLLM([down, *well], balancer="round_robin", sharing=sharing)
    failed = {"attempts": 0, "calls": 0}

    def count(event: Event) -> None:
        failed["attempts"] += isinstance(event, AttemptEnded)

    llm.cluster.events.subscribe(count)
    with llm.cluster:
        print("ready", flush=True)
        sys.stdin.readline()
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            try:
                llm.invoke("hello")
            except Exception:
                failed["calls"] += 1
            time.sleep(float(pause))
    print(json.dumps(failed), flush=True)
