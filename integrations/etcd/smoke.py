"""A cluster that knows nothing but etcd's address; exits 1 unless it followed every change."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import yaml

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.discovery import EtcdRegistrar
from langchain_cluster.testing import SimulatedServer

SOON = 2.0  # seconds from the registry being right to the pool being right


def run(url: str, server: SimulatedServer) -> int:
    """Register, change, take away; and call all the time."""
    registrar = EtcdRegistrar("/smoke/llm/", url, ttl=60)
    names = ("gpu-1", "gpu-2", "gpu-3")

    def announce(name: str, weight: float = 1.0) -> None:
        where = server.openai_url(name)
        registrar.register(Endpoint(name, url=where, weight=weight, metadata={"model": "m"}))

    for name in names:
        announce(name)
    config = yaml.safe_load((Path(__file__).parent / "cluster.yaml").read_text())
    config["discovery"]["endpoints"] = url
    llm = ClusteredLLM.from_config(config)
    wrong = 0

    def expect(what: str, weights: dict[str, float]) -> None:
        nonlocal wrong
        began, seen = time.monotonic(), None
        while seen != weights and time.monotonic() - began < SOON:
            llm.batch(["hello"] * 10)
            seen = {member.endpoint.id: member.endpoint.weight for member in llm.cluster.pool}
        took = time.monotonic() - began
        wrong += seen != weights
        told = "the pool followed" if seen == weights else f"the pool is {seen}"
        sys.stdout.write(f"{what}: {told} after {took:.2f} s\n")

    try:
        with llm.cluster:
            llm.cluster.wait_ready(10.0)
            expect("three registered", dict.fromkeys(names, 1.0))
            announce("gpu-1", 3.0)
            expect("a weight changed", {"gpu-1": 3.0, "gpu-2": 1.0, "gpu-3": 1.0})
            registrar.deregister("gpu-2")
            expect("one deregistered", {"gpu-1": 3.0, "gpu-3": 1.0})
            stats: dict[str, Any] = llm.cluster.stats()
    finally:
        for name in names:
            registrar.deregister(name)
    sys.stdout.write(f"{stats['answered']} of {stats['calls']} calls answered\n")
    return 0 if not wrong and stats["answered"] == stats["calls"] else 1


def main() -> int:
    """0 when the promise holds."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:2379"
    with SimulatedServer() as server:
        return run(url, server)


if __name__ == "__main__":
    sys.exit(main())
