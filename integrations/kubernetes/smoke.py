"""The chart without a cluster: its parts agree, and its config follows pods by DNS; exits 1 otherwise.

The DNS server, the pods and their addresses are on this machine (127.0.0.1 to 127.0.0.3); the service's name
and everything else is as the chart has it.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import ExitStack
from typing import Any

from manifests import config, manifests, problems

from langchain_cluster import ClusteredLLM
from langchain_cluster.testing import SimulatedServer
from langchain_cluster.testing.name_server import NameServer

PODS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
SOON = 10.0  # seconds; an answer of DNS is used for one, at least


def free_port() -> int:
    """One that is free at all three addresses, or an OSError."""
    for _ in range(50):
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server((PODS[0], 0)))
            port = int(first.getsockname()[1])
            try:
                for pod in PODS[1:]:
                    stack.enter_context(socket.create_server((pod, port)))
            except OSError as error:
                problem = error
                continue
            return port
    raise problem


def follow(given: dict[str, Any]) -> bool:
    """Pods come, go and are replaced, and DNS goes away; whether the pool was right and no call failed."""
    source = given["discovery"]
    key, port = (source["host"], "A"), free_port()
    with ExitStack() as stack:
        dns = stack.enter_context(NameServer())
        for pod in PODS:
            stack.enter_context(SimulatedServer(host=pod, port=port, name=pod))
        source |= {"nameservers": [dns.address], "port": port, "max_ttl": "1s"}
        given["factory"]["allow"] = ["127.0.0.0/8"]
        given["stability"] = {"max_shrink": 1.0, "sweep": "100ms"}
        given["balancer"] = "round_robin"
        dns.table[key] = (1, list(PODS))
        llm = ClusteredLLM.from_config(given)
        right = True
        with llm.cluster:
            llm.cluster.wait_ready(SOON)
            for what, pods in (("three pods", PODS), ("one has left", PODS[1:]), ("another one", PODS[:2])):
                dns.table[key] = (1, list(pods))
                right = _becomes(llm, what, {f"{pod}:{port}" for pod in pods}) and right
            dns.table.clear()
            dns.refuses = True
            time.sleep(2.0)
            right = _becomes(llm, "DNS is away", {f"{pod}:{port}" for pod in PODS[:2]}) and right
            stats = llm.cluster.stats()
    sys.stdout.write(f"{stats['answered']} of {stats['calls']} calls answered\n")
    return right and stats["answered"] == stats["calls"] > 0


def _becomes(llm: ClusteredLLM, what: str, expected: set[str]) -> bool:
    end, answered = time.monotonic() + SOON, set[str]()
    while answered != expected and time.monotonic() < end:
        answered = {llm.invoke("hello").response_metadata["cluster"]["endpoint"] for _ in range(6)}
    sys.stdout.write(f"{what}: {', '.join(sorted(answered))} answered\n")
    return answered == expected


def main() -> int:
    """0 when the promise holds."""
    deployed = manifests()
    wrong = list(problems(deployed))
    for problem in wrong:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{len(deployed)} manifests, {len(wrong)} problems\n")
    return 0 if not wrong and follow(config(deployed)) else 1


if __name__ == "__main__":
    sys.exit(main())
