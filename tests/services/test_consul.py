"""Real Consul: whatever happens to it, the pool is right two seconds after it is, and no call fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("consul")

from langchain_cluster import Endpoint, Load
from langchain_cluster.discovery import ConsulDiscovery, ConsulRegistrar
from langchain_cluster.errors import DiscoveryError
from langchain_cluster.model.events import EndpointRejected
from langchain_cluster.testing.server_process import free_port
from tests.services.following import Following, churn
from tests.services.registry_servers import Consul, Folder

pytestmark = pytest.mark.services
READ = 'service_prefix "" {policy="read"} node_prefix "" {policy="read"}'
ALL = {"g1": 1.0, "g2": 1.0, "g3": 1.0}


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


@pytest.fixture(scope="module")
def consul(folder: Folder) -> Consul:
    return Consul(folder, "alone").start().wait_ready()


def endpoint(id: str, weight: float = 1.0) -> Endpoint:
    return Endpoint(id, url=f"http://10.0.0.{id[-1]}:8000", weight=weight)


@pytest.fixture
def registrar(consul: Consul) -> Iterator[ConsulRegistrar]:
    registrar = ConsulRegistrar("llm", consul.url, ttl=600)
    for id in ALL:
        registrar.register(endpoint(id))
    yield registrar
    for id in ALL:
        registrar.deregister(id)


def source(consul: Consul, wait: float = 20.0, timeout: float = 5.0) -> ConsulDiscovery:
    return ConsulDiscovery("llm", consul.url, wait=wait, timeout=timeout)


def test_endpoints_come_change_fail_and_go(consul: Consul, registrar: ConsulRegistrar) -> None:
    with Following(source(consul)) as following:
        assert following.weights() == ALL
        registrar.register(endpoint("g1", 5.0))
        following.soon({**ALL, "g1": 5.0})
        consul.put("/v1/agent/check/fail/service:g2")
        following.soon({"g1": 5.0, "g3": 1.0})
        registrar.heartbeat("g2", Load(connections=7))
        following.soon({**ALL, "g1": 5.0})
        registrar.deregister("g1")
        following.soon({"g2": 1.0, "g3": 1.0})


def test_a_heartbeats_load_reaches_the_pool(consul: Consul, registrar: ConsulRegistrar) -> None:
    with Following(source(consul)) as following:
        registrar.heartbeat("g2", Load(connections=7, queued=1))
        following.until(lambda: following.llm.cluster.pool.get("g2").load == Load(connections=7, queued=1))


def test_a_bad_instance_is_left_out_with_an_event(consul: Consul, registrar: ConsulRegistrar) -> None:
    bad = {"Name": "llm", "ID": "bad", "Address": "169.254.169.254", "Port": 80}
    with Following(source(consul)) as following:
        consul.put("/v1/agent/service/register", bad)
        following.until(lambda: any(isinstance(event, EndpointRejected) for event in following.events))
        assert following.weights() == ALL
        consul.put("/v1/agent/service/deregister/bad")


def test_an_agent_that_restarts(consul: Consul, registrar: ConsulRegistrar) -> None:
    with Following(source(consul)) as following:
        consul.kill()
        following.stays(ALL, 0.5)
        consul.start().wait_ready()
        registrar.register(endpoint("g1", 3.0))
        following.soon({**ALL, "g1": 3.0})


def test_an_index_that_is_set_back(consul: Consul) -> None:
    """A snapshot is restored: what was registered since is gone, and the index is a lower one."""

    def there(id: str) -> None:
        service = {"ID": id, "Service": "old", "Address": "10.0.0.1", "Port": 80}
        consul.put("/v1/catalog/register", {"Node": f"n-{id}", "Address": "10.0.0.1", "Service": service})

    there("a")
    snapshot = consul.get("/v1/snapshot").content
    with Following(ConsulDiscovery("old", consul.url)) as following:
        there("b")
        following.soon({"a": 1.0, "b": 1.0})
        consul.put("/v1/snapshot", snapshot)
        following.soon({"a": 1.0})
        there("c")
        following.soon({"a": 1.0, "c": 1.0})


def test_a_token_that_is_denied(folder: Folder, tmp_path: Path) -> None:
    acl = {"enabled": True, "default_policy": "deny", "token_ttl": "0s", "tokens": {"master": "root-token"}}
    consul = Consul(folder, "denying", acl=acl, datacenter="dc1").start().wait_ready()
    end = time.monotonic() + 20
    while True:
        try:
            consul.put("/v1/acl/policy", {"Name": "read", "Rules": READ}, "root-token")
            break
        except httpx.HTTPStatusError:
            assert time.monotonic() < end
            time.sleep(0.1)
    made = consul.put("/v1/acl/token", {"Policies": [{"Name": "read"}]}, "root-token")
    file = tmp_path / "token"
    file.write_text(made["SecretID"])
    service = {"Name": "llm", "ID": "g1", "Address": "10.0.0.1", "Port": 80}
    consul.put("/v1/agent/service/register", service, "root-token")
    denied = ConsulDiscovery("llm", consul.url, token_file=file, wait=1.0)
    with Following(denied) as following:
        following.soon({"g1": 1.0})
        answer = httpx.delete(
            f"{consul.url}/v1/acl/token/{made['AccessorID']}", headers={"X-Consul-Token": "root-token"}
        )
        assert answer.status_code == 200
        following.stays({"g1": 1.0}, 2.5)
        with pytest.raises(DiscoveryError, match="ACL"):
            denied.fetch(None)
        consul.put("/v1/agent/service/register", service | {"Meta": {"weight": "2"}}, "root-token")
        again = consul.put("/v1/acl/token", {"Policies": [{"Name": "read"}]}, "root-token")
        file.write_text(again["SecretID"])
        following.soon({"g1": 2.0})
    consul.kill()


def test_the_leader_of_three_servers_is_killed(folder: Folder) -> None:
    serfs = [free_port() for _ in range(3)]
    servers = [
        Consul(folder, f"s{number}", expect=3, serf=serf, join=[other for other in serfs if other != serf])
        for number, serf in enumerate(serfs)
    ]
    for server in servers:
        server.start()
    for server in servers:
        server.wait_ready()
    leader = next(
        server
        for server in servers
        if server.get("/v1/agent/self").json()["Stats"]["consul"]["leader"] == "true"
    )
    others = [server for server in servers if server is not leader]
    registrar = ConsulRegistrar("llm", others[0].url, ttl=600)
    for id in ALL:
        registrar.register(endpoint(id))
    # The leader's own agent is asked first: it has to be left for another.
    with Following(ConsulDiscovery("llm", [leader.url, others[0].url], wait=20.0)) as following:
        following.soon(ALL)
        leader.kill()
        following.stays(ALL, 0.2)
        end = time.monotonic() + 30
        while True:  # until Consul is right: a new leader takes writes, and they can be read
            try:
                registrar.register(endpoint("g1", 6.0))
                found = others[0].get("/v1/health/service/llm?passing=1").json()
                if any((item["Service"]["Meta"] or {}).get("weight") == "6.0" for item in found):
                    break
            except (DiscoveryError, httpx.HTTPStatusError):
                pass
            assert time.monotonic() < end, "Consul has no new leader"
            time.sleep(0.05)
        following.soon({**ALL, "g1": 6.0})
    for server in others:
        server.kill()


def test_two_hundred_endpoints_come_and_go_at_random(consul: Consul) -> None:
    churn(ConsulRegistrar("many", consul.url, ttl=600), ConsulDiscovery("many", consul.url))
