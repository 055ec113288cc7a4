"""One worker of a fleet that shares one limit: python limits_member.py VALKEY NAMESPACE RPM

It says "ready", waits for a line, asks until it is refused for good, and prints how many calls were let.
"""

from __future__ import annotations

import sys

from langchain_cluster import Capacity, ClusteredLLM, Endpoint, Overloaded, Policy
from langchain_cluster.sharing import SharedLimits
from langchain_cluster.testing import ScriptedModel

if __name__ == "__main__":
    valkey, namespace, rpm = sys.argv[1:]
    model = ScriptedModel("hello")
    limits = SharedLimits.from_url(valkey, namespace=namespace, timeout=10.0)
    endpoint = Endpoint("a", model, capacity=Capacity(max_rpm=int(rpm)))
    llm = ClusteredLLM([endpoint], limits=limits, policy=Policy(timeout=15.0))
    with llm.cluster:
        print("ready", flush=True)
        sys.stdin.readline()
        refused = 0
        while refused < 3:
            try:
                llm.invoke("hello")
            except Overloaded:
                refused += 1
    print(model.calls, flush=True)
