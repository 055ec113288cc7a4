"""As much of a Consul agent as discovery and registration ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from langchain_cluster.discovery import ConsulDiscovery
from langchain_cluster.testing import FakeClock
from tests.discovery.fake_server import FakeServer


def instance(id: str, **service: Any) -> dict[str, Any]:
    """An instance, well, on a node of its own."""
    known = {"ID": id, "Service": "gpu", "Address": "10.0.0.1", "Port": 8000, "Meta": {}, "Tags": []}
    return {"Node": {"Node": f"n-{id}", "Address": "10.9.9.9"}, "Service": known | service, "Checks": []}


class FakeConsul(FakeServer):
    """Its instances are `instances`; `set` replaces them and moves the index."""

    wait = 30.0

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(clock or FakeClock())
        self.instances: Any = []
        self.index = 10
        self.headers: dict[str, str] = {}
        self.registered: dict[str, Any] = {}
        self.notes: dict[str, str] = {}
        self.source = ConsulDiscovery("gpu", self.url, wait=self.wait, now=self.clock.now)

    def put(self, endpoints: Mapping[str, float]) -> None:
        self.set([instance(id, Meta={"weight": str(weight)}) for id, weight in endpoints.items()])

    def set(self, instances: Any, index: int | None = None) -> None:
        with self.changed:
            self.instances = instances
            self.index = self.index + 1 if index is None else index
            self.changed.notify_all()

    def answer(self, request: Any) -> None:
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/v1/health/service/"):
            if "index" in asked:
                index, wait = int(asked["index"]), float(asked["wait"].removesuffix("ms")) / 1000
                self.until(lambda: self.index != index, self.clock.now() + wait)
                if self.broken:
                    request.say(500, b"No cluster leader")
                    return
            request.json(200, self.instances, X_Consul_Index=str(self.index), **self.headers)
        elif parts.path == "/v1/agent/service/register":
            told = json.loads(request.body)
            self.registered[told["id"]] = told
            request.say(200, b"")
        elif parts.path.startswith("/v1/agent/service/deregister/"):
            id = parts.path.rpartition("/")[2]
            known = self.registered.pop(id, None)
            request.say(200 if known else 404, b"" if known else b'Unknown service ID "x"')
        elif parts.path.startswith("/v1/agent/check/pass/service:"):
            id = parts.path.rpartition(":")[2]
            if id in self.registered:
                self.notes[id] = asked.get("note", "")
                request.say(200, b"")
            else:
                request.say(500, b'CheckID "service:x" does not have associated TTL')
        elif parts.path.startswith("/v1/agent/service/"):
            id = parts.path.rpartition("/")[2]
            known = self.registered.get(id)
            request.json(200 if known else 404, known)
        else:
            request.say(404, b"")
