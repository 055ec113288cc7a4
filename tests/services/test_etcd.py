"""Real etcd: whatever happens to it, the pool is right two seconds after it is, and no call fails."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from shutil import rmtree

import httpx
import pytest

from langchain_cluster import Endpoint, Load
from langchain_cluster.discovery import EtcdDiscovery, EtcdRegistrar
from langchain_cluster.errors import DiscoveryError
from langchain_cluster.model.events import EndpointRejected
from langchain_cluster.testing.server_process import free_port
from tests.services.following import Following, churn
from tests.services.registry_servers import Etcd, Folder

pytestmark = pytest.mark.services
PREFIX = "/llm/"
ALL = {"g1": 1.0, "g2": 1.0, "g3": 1.0}


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


@pytest.fixture(scope="module")
def etcd(folder: Folder) -> Etcd:
    return Etcd(folder, "alone").start().wait_ready()


def endpoint(id: str, weight: float = 1.0) -> Endpoint:
    return Endpoint(id, url=f"http://10.0.0.{id[-1]}:8000", weight=weight)


@pytest.fixture
def registrar(etcd: Etcd) -> Iterator[EtcdRegistrar]:
    registrar = EtcdRegistrar(PREFIX, etcd.url, ttl=600)
    for id in ALL:
        registrar.register(endpoint(id))
    yield registrar
    for id in ALL:
        registrar.deregister(id)


def source(etcd: Etcd, wait: float = 20.0, timeout: float = 5.0) -> EtcdDiscovery:
    return EtcdDiscovery(PREFIX, etcd.url, wait=wait, timeout=timeout)


def test_endpoints_come_change_and_go(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    with Following(source(etcd)) as following:
        assert following.weights() == ALL
        registrar.register(endpoint("g1", 5.0))
        following.soon({**ALL, "g1": 5.0})
        registrar.deregister("g2")
        following.soon({"g1": 5.0, "g3": 1.0})
        registrar.register(endpoint("g2"))
        following.soon({**ALL, "g1": 5.0})
        registrar.heartbeat("g3", Load(connections=2))
        following.until(lambda: following.llm.cluster.pool.get("g3").load == Load(connections=2))


async def test_an_awaited_fetch_hears_of_a_change(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    reader = source(etcd)
    first = await reader.afetch(None)
    await registrar.aregister(endpoint("g1", 9.0))
    later = await reader.afetch(first.revision)
    assert {one.id: one.weight for one in later.endpoints} == {**ALL, "g1": 9.0}


def test_a_lease_that_expires_and_one_that_is_kept(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    brief = EtcdRegistrar(PREFIX, etcd.url, ttl=1)
    brief.register(endpoint("g4"))
    with Following(source(etcd)) as following:
        assert following.weights() == {**ALL, "g4": 1.0}
        following.soon(ALL, within=5.0)  # etcd's own time: at least its shortest lease
        brief.heartbeat("g4")
        following.soon({**ALL, "g4": 1.0})
        brief.deregister("g4")
        following.soon(ALL)


def test_a_compaction_while_nobody_watches(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    reader = source(etcd)
    first = reader.fetch(None)
    for weight in (2.0, 3.0, 4.0):
        registrar.register(endpoint("g1", weight))
    revision = etcd.call("/v3/kv/range", {"key": b64(PREFIX)})["header"]["revision"]
    etcd.call("/v3/kv/compaction", {"revision": revision, "physical": True})
    assert {one.id: one.weight for one in reader.fetch(first.revision).endpoints} == {**ALL, "g1": 4.0}


def test_a_compaction_while_it_is_watched(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    with Following(source(etcd)) as following:
        for weight in (2.0, 3.0):
            registrar.register(endpoint("g1", weight))
        revision = etcd.call("/v3/kv/range", {"key": b64(PREFIX)})["header"]["revision"]
        etcd.call("/v3/kv/compaction", {"revision": revision, "physical": True})
        registrar.register(endpoint("g1", 7.0))
        following.soon({**ALL, "g1": 7.0})


def test_a_bad_value_is_left_out_with_an_event(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    with Following(source(etcd)) as following:
        etcd.call("/v3/kv/put", {"key": b64(PREFIX + "bad"), "value": b64('{"address": "fe80::1"}')})
        following.until(lambda: any(isinstance(event, EndpointRejected) for event in following.events))
        assert following.weights() == ALL
        etcd.call("/v3/kv/deleterange", {"key": b64(PREFIX + "bad")})


def test_a_server_that_restarts(etcd: Etcd, registrar: EtcdRegistrar) -> None:
    with Following(source(etcd)) as following:
        etcd.kill()
        following.stays(ALL, 0.5)
        etcd.start().wait_ready()
        registrar.register(endpoint("g1", 3.0))
        following.soon({**ALL, "g1": 3.0})


def test_a_user_that_is_refused_and_let_in_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd(folder, "guarded").start().wait_ready()
    monkeypatch.setenv("ETCD_USER", "reader")
    monkeypatch.setenv("ETCD_PASSWORD", "one")
    value = b64('{"address": "10.0.0.1", "port": 80}')
    etcd.call("/v3/kv/put", {"key": b64(PREFIX + "g1"), "value": value})
    for path, said in (
        ("user/add", {"name": "root", "password": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("role/add", {"name": "reads"}),
        (
            "role/grant",
            {"name": "reads", "perm": {"permType": "READ", "key": b64(PREFIX), "range_end": b64("/llm0")}},
        ),
        ("user/add", {"name": "reader", "password": "one"}),
        ("user/grant", {"user": "reader", "role": "reads"}),
        ("enable", {}),
    ):
        try:
            etcd.call(f"/v3/auth/{path}", said)
        except httpx.HTTPStatusError:
            if path != "user/grant" or said["user"] != "root":  # it may need the role first
                raise
            etcd.call("/v3/auth/role/add", {"name": "root"})
            etcd.call(f"/v3/auth/{path}", said)
    root = etcd.call("/v3/auth/authenticate", {"name": "root", "password": "root"})["token"]
    reader = EtcdDiscovery(PREFIX, etcd.url, user_env="ETCD_USER", password_env="ETCD_PASSWORD", wait=1.0)
    with Following(reader) as following:
        following.soon({"g1": 1.0})
        etcd.call("/v3/auth/user/changepw", {"name": "reader", "password": "two"}, root)
        root = etcd.call("/v3/auth/authenticate", {"name": "root", "password": "root"})["token"]
        following.stays({"g1": 1.0}, 2.5)
        with pytest.raises(DiscoveryError):
            reader.fetch(None)
        heavy = b64('{"address": "10.0.0.1", "port": 80, "weight": 2}')
        etcd.call("/v3/kv/put", {"key": b64(PREFIX + "g1"), "value": heavy}, root)
        monkeypatch.setenv("ETCD_PASSWORD", "two")
        following.soon({"g1": 2.0})
    etcd.kill()


def test_two_hundred_endpoints_come_and_go_at_random(etcd: Etcd) -> None:
    churn(EtcdRegistrar("/many/", etcd.url, ttl=600), EtcdDiscovery("/many/", etcd.url))


def test_an_etcd_that_comes_back_with_nothing_counts_from_the_beginning(folder: Folder) -> None:
    """Its revisions are lower ones than those that were seen, and who has not registered again yet stays."""
    etcd = Etcd(folder, "forgetful").start().wait_ready()
    registrar = EtcdRegistrar(PREFIX, etcd.url, ttl=600)
    for id in ALL:
        registrar.register(endpoint(id))
    for weight in range(2, 20):
        registrar.register(endpoint("g1", float(weight)))
    with Following(source(etcd)) as following:
        following.soon({**ALL, "g1": 19.0})
        etcd.kill()
        rmtree(etcd.data)
        etcd.start().wait_ready()
        following.stays({**ALL, "g1": 19.0}, 0.3)
        for id in ALL:
            registrar.register(endpoint(id, 7.0))
        following.soon(dict.fromkeys(ALL, 7.0))
    etcd.kill()


def test_the_leader_of_three_servers_is_killed(folder: Folder) -> None:
    peers = {f"s{number}": f"http://127.0.0.1:{free_port()}" for number in range(3)}
    servers = [Etcd(folder, name, peers=peers) for name in peers]
    for server in servers:
        server.start()
    for server in servers:
        server.wait_ready()
    told = [server.call("/v3/maintenance/status", {}) for server in servers]
    place = next(n for n, status in enumerate(told) if status["leader"] == status["header"]["member_id"])
    leader = servers[place]
    others = [server for server in servers if server is not leader]
    registrar = EtcdRegistrar(PREFIX, others[0].url, ttl=600)
    for id in ALL:
        registrar.register(endpoint(id))
    # The leader is asked first: it has to be left for another.
    with Following(EtcdDiscovery(PREFIX, [leader.url, others[0].url], wait=20.0)) as following:
        following.soon(ALL)
        leader.kill()
        following.stays(ALL, 0.2)
        end = time.monotonic() + 30
        while True:  # until etcd is right: a new leader takes writes
            try:
                registrar.register(endpoint("g1", 6.0))
                break
            except DiscoveryError:
                assert time.monotonic() < end, "etcd has no new leader"
                time.sleep(0.05)
        following.soon({**ALL, "g1": 6.0})
    for server in others:
        server.kill()
