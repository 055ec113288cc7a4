"""Real Consul and etcd over TLS, with certificates of an authority made for the test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("consul")
pytest.importorskip("trustme")

from langchain_cluster import Endpoint
from langchain_cluster.discovery import ConsulDiscovery, ConsulRegistrar, EtcdDiscovery, EtcdRegistrar
from langchain_cluster.errors import DiscoveryError
from langchain_cluster.leadership import ConsulLeadership, EtcdLeadership
from langchain_cluster.testing.server_process import free_port
from tests.certificates import Files, authority
from tests.services.following import Following
from tests.services.registry_servers import Consul, Etcd, Folder

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


@pytest.fixture(scope="module")
def ours(folder: Folder) -> Files:
    return authority(folder.path, "ours")


@pytest.fixture(scope="module")
def foreign(folder: Folder) -> Files:
    return authority(folder.path, "foreign")


@pytest.fixture(scope="module", params=["consul", "etcd"])
def secure(request: pytest.FixtureRequest, folder: Folder, ours: Files) -> Any:
    """(discovery, registrar, leadership) as functions of their TLS options; both sides show a certificate."""
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    if request.param == "consul":
        files = {"ca_file": ours.ca, "cert_file": ours.cert, "key_file": ours.key}
        Consul(folder, "secure", https=port, verify_incoming_https=True, **files).start().wait_ready()
        return (
            lambda **how: ConsulDiscovery("llm", url, **how),
            lambda **how: ConsulRegistrar("llm", url, ttl=600, **how),
            lambda **how: ConsulLeadership("fleet", url, **how),
        )
    options = (f"--cert-file={ours.cert}", f"--key-file={ours.key}")
    options += (f"--trusted-ca-file={ours.ca}", "--client-cert-auth")
    Etcd(folder, "secure-e", secure=url, options=options).start().wait_ready()
    return (
        lambda **how: EtcdDiscovery("/llm/", url, **how),
        lambda **how: EtcdRegistrar("/llm/", url, ttl=600, **how),
        lambda **how: EtcdLeadership("fleet", url, **how),
    )


@pytest.fixture
def trust(ours: Files) -> dict[str, str]:
    return {"ca": ours.ca, "cert": ours.cert, "key": ours.key}


@pytest.fixture(params=["blocking", "awaited"])
def fetch(request: pytest.FixtureRequest) -> Any:
    async def fetch(source: Any, after: int | None = None) -> Any:
        return await (
            source.afetch(after) if request.param == "awaited" else asyncio.to_thread(source.fetch, after)
        )

    return fetch


async def test_changes_are_followed(secure: Any, trust: dict[str, str], fetch: Any) -> None:
    discovery, registrar, _ = secure
    announcer, me = registrar(**trust), Endpoint("g1", url="http://10.0.0.1:8000")
    await announcer.aregister(me)
    reader = discovery(**trust)
    first = await fetch(reader)
    assert [one.id for one in first.endpoints] == ["g1"]
    waiting = asyncio.ensure_future(fetch(reader, first.revision))
    await announcer.aregister(replace(me, weight=3.0))
    assert [one.weight for one in (await waiting).endpoints] == [3.0]
    await announcer.aderegister("g1")


async def test_a_stranger_is_refused_by_either_side(
    secure: Any, trust: dict[str, str], foreign: Files, fetch: Any
) -> None:
    discovery, _, _ = secure
    with pytest.raises(DiscoveryError, match="its certificate is not trusted"):
        await fetch(discovery(**trust | {"ca": foreign.ca}))
    for shown in ({}, {"cert": foreign.cert, "key": foreign.key}):
        with pytest.raises(DiscoveryError):
            await fetch(discovery(ca=trust["ca"], **shown))


def test_a_cluster_follows_and_closes_at_once(secure: Any, trust: dict[str, str]) -> None:
    discovery, registrar, _ = secure
    announcer, me = registrar(**trust), Endpoint("g1", url="http://10.0.0.1:8000")
    announcer.register(me)
    with Following(discovery(wait=20.0, **trust)) as following:
        following.soon({"g1": 1.0})
        announcer.register(replace(me, weight=2.0))
        following.soon({"g1": 2.0})
    announcer.deregister("g1")


def test_one_of_a_fleet_is_the_holder(secure: Any, trust: dict[str, str]) -> None:
    leader = secure[2](ca=trust["ca"], cert=trust["cert"], key_file=trust["key"])
    term = leader.acquire(0.0)
    assert term is not None
    assert leader.acquire(0.0) is None
    leader.release(term)
