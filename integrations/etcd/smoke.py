"""A cluster that knows nothing but etcd's address; exits 1 unless it followed every change."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import ClusteredLLM, Endpoint, Roster
from langchain_cluster.discovery import EtcdDiscovery, EtcdRegistrar
from langchain_cluster.testing import SimulatedServer

SOON = 2.0  # seconds from the registry being right to the pool being right


class WithModels:
    """The source, with a chat model for each endpoint it names."""

    def __init__(self, source: EtcdDiscovery) -> None:
        self._source = source
        self.close = source.close
        self._models: dict[str, ChatOpenAI] = {}

    def fetch(self, after: int | None) -> Roster:
        return self._named(self._source.fetch(after))

    async def afetch(self, after: int | None) -> Roster:
        return self._named(await self._source.afetch(after))

    def _named(self, roster: Roster) -> Roster:
        return replace(roster, endpoints=tuple(map(self._with_model, roster.endpoints)))

    def _with_model(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.id not in self._models:
            model = endpoint.metadata["model"]
            self._models[endpoint.id] = ChatOpenAI(base_url=endpoint.url, model=model, api_key=SecretStr("-"))
        return replace(endpoint, model=self._models[endpoint.id])


def run(url: str, server: SimulatedServer) -> int:
    """Register, change, take away; and call all the time."""
    registrar = EtcdRegistrar("/smoke/llm/", url, ttl=60)
    names = ("gpu-1", "gpu-2", "gpu-3")

    def announce(name: str, weight: float = 1.0) -> None:
        where = server.openai_url(name)
        registrar.register(Endpoint(name, url=where, weight=weight, metadata={"model": "m"}))

    for name in names:
        announce(name)
    llm = ClusteredLLM(discovery=WithModels(EtcdDiscovery("/smoke/llm/", url)), balancer="round_robin")
    wrong = 0

    def expect(what: str, weights: dict[str, float]) -> None:
        nonlocal wrong
        began, seen = time.monotonic(), None
        while seen != weights and time.monotonic() - began < SOON:
            llm.invoke("hello")
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
