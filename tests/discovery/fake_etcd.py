"""As much of an etcd server's JSON gateway as discovery and registration ask for."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from langchain_cluster.discovery import EtcdDiscovery
from langchain_cluster.testing import FakeClock
from tests.discovery.fake_server import FakeServer

PREFIX = "/llm/"


def text(bytes: bytes) -> str:
    return b64encode(bytes).decode()


class FakeEtcd(FakeServer):
    """Its keys are `keys`; `compacted` is the revision behind which a watch may not begin."""

    wait = 30.0

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(clock or FakeClock())
        self.keys: dict[str, bytes] = {}
        self.revision = 5
        self.compacted = 0
        self.leases: dict[str, set[str]] = {}
        self.password: str | None = None  # who has none asks for none
        self.token = "first"
        self.source = EtcdDiscovery(PREFIX, self.url, wait=self.wait, now=self.clock.now)

    def put(self, endpoints: Mapping[str, float]) -> None:
        values = {
            PREFIX + id: json.dumps({"address": "10.0.0.1", "port": 8000, "weight": weight}).encode()
            for id, weight in endpoints.items()
        }
        self.set(values)

    def set(self, keys: dict[str, bytes]) -> None:
        with self.changed:
            self.keys = keys
            self.revision += 1
            self.changed.notify_all()

    def answer(self, request: Any) -> None:
        said = json.loads(request.body)
        if request.path == "/v3/auth/authenticate":
            if said.get("password") == self.password:
                request.json(200, {"token": self.token})
            else:
                request.json(400, {"error": "authentication failed, invalid user ID or password"})
            return
        if self.password is not None and request.headers.get("Authorization") != self.token:
            request.json(401, {"error": "etcdserver: invalid auth token", "code": 16})
            return
        getattr(self, "_" + request.path.removeprefix("/v3/").replace("/", "_"))(request, said)

    def _header(self) -> dict[str, str]:
        return {"revision": str(self.revision)}

    def _kv_range(self, request: Any, said: Any) -> None:
        first, end = b64decode(said["key"]), b64decode(said["range_end"])
        kvs = [
            {"key": text(key.encode()), "value": text(value)}
            for key, value in sorted(self.keys.items())
            if first <= key.encode() < end
        ]
        request.json(200, {"header": self._header(), **({"kvs": kvs} if kvs else {})})

    def _kv_put(self, request: Any, said: Any) -> None:
        key = b64decode(said["key"]).decode()
        if said.get("lease") not in (None, *self.leases):
            request.json(404, {"error": "etcdserver: requested lease not found", "code": 5})
            return
        self.leases[said["lease"]].add(key)
        self.set({**self.keys, key: b64decode(said["value"])})
        request.json(200, {"header": self._header()})

    def _kv_deleterange(self, request: Any, said: Any) -> None:
        gone = b64decode(said["key"]).decode()
        self.set({key: value for key, value in self.keys.items() if key != gone})
        request.json(200, {"header": self._header()})

    def _lease_grant(self, request: Any, said: Any) -> None:
        id = str(1000 + len(self.asked))
        self.leases[id] = set()
        request.json(200, {"ID": id, "TTL": said["TTL"]})

    def _lease_keepalive(self, request: Any, said: Any) -> None:
        alive = {"TTL": "15"} if said["ID"] in self.leases else {}
        request.json(200, {"result": {"ID": said["ID"], **alive}})

    def _lease_revoke(self, request: Any, said: Any) -> None:
        if said["ID"] in self.leases:
            self.expire(said["ID"])
            request.json(200, {"header": self._header()})
        else:
            request.json(404, {"error": "etcdserver: requested lease not found", "code": 5})

    def expire(self, lease: str) -> None:
        gone = self.leases.pop(lease)
        self.set({key: value for key, value in self.keys.items() if key not in gone})

    def _watch(self, request: Any, said: Any) -> None:
        begin = int(said["create_request"]["start_revision"])
        request.send_response(200)
        request.send_header("connection", "close")
        request.end_headers()
        request.close_connection = True

        def say(**result: Any) -> None:
            request.wfile.write(json.dumps({"result": {"header": self._header(), **result}}).encode() + b"\n")
            request.wfile.flush()

        say(created=True)
        if begin <= self.compacted:
            say(canceled=True, compact_revision=str(self.compacted))
            return
        now = self.clock.now()  # whoever watches ends it; where time stands still, a step of it does
        self.until(lambda: self.revision >= begin or self.clock.now() > now, float("inf"))
        if self.revision >= begin:
            say(events=[{"kv": {}}])
