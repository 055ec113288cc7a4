"""One holder per fleet, kept by a real Consul and a real etcd."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("consul")

from langchain_cluster.errors import ConfigError
from langchain_cluster.leadership import Leadership
from langchain_cluster.leadership.consul import ConsulLeadership
from langchain_cluster.leadership.etcd import EtcdLeadership
from tests.services.registry_servers import Consul, Etcd, Folder, Server

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


@pytest.fixture(scope="module", params=[Consul, Etcd])
def server(request: pytest.FixtureRequest, folder: Folder) -> Server:
    started: Server = request.param(folder, f"leading-{request.param.__name__}").start().wait_ready()
    return started


def leader_of(server: Server, key: str = "fleet", **options: Any) -> Any:
    kind = ConsulLeadership if isinstance(server, Consul) else EtcdLeadership
    return kind(key, server.url, **options)


@pytest.fixture
def leader(server: Server) -> Any:
    return leader_of(server)


@pytest.fixture(params=["blocking", "awaited"])
def ask(request: pytest.FixtureRequest) -> Any:
    async def ask(leader: Any, method: str, *arguments: Any) -> Any:
        if request.param == "awaited":
            return await getattr(leader, f"a{method}")(*arguments)
        return await asyncio.to_thread(getattr(leader, method), *arguments)

    return ask


async def test_there_is_one_holder_and_each_term_has_a_larger_token(ask: Any, leader: Leadership) -> None:
    first = await ask(leader, "acquire", 100.0)
    assert first.until == 100.0 + leader.lease
    assert await ask(leader, "acquire", 100.0) is None
    renewed = await ask(leader, "renew", first, 110.0)
    assert (renewed.token, renewed.until) == (first.token, 110.0 + leader.lease)
    await ask(leader, "release", renewed)
    assert await ask(leader, "renew", renewed, 111.0) is None
    second = await ask(leader, "acquire", 112.0)
    assert second.token > first.token
    await ask(leader, "release", first)  # it is over: it must not throw out the second
    assert await ask(leader, "acquire", 113.0) is None
    assert await ask(leader, "renew", second, 114.0) is not None
    assert leader.trouble is None
    await ask(leader, "release", second)


def test_of_many_who_ask_at_once_one_is_the_holder(server: Server) -> None:
    leaders = [leader_of(server, "many") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        terms = list(pool.map(lambda leader: leader.acquire(0.0), leaders))
    (held,) = [term for term in terms if term is not None]
    leaders[0].release(held)


async def test_without_the_registry_nobody_becomes_the_holder_and_one_stays_it_until_the_end(
    ask: Any, server: Server
) -> None:
    leader = leader_of(server, "away", timeout=0.3)
    term = await ask(leader, "acquire", 100.0)
    server.signal(signal.SIGSTOP)
    try:
        assert await ask(leader, "acquire", 100.0) is None
        assert leader.trouble is not None
        assert await ask(leader, "renew", term, 129.9) == term
        assert await ask(leader, "renew", term, 130.0) is None
    finally:
        server.signal(signal.SIGCONT)
        server.wait_ready()
    assert await ask(leader, "renew", term, 100.0) is not None
    assert leader.trouble is None
    await ask(leader, "release", term)


async def test_a_holder_that_is_lost_is_followed_by_another(server: Server) -> None:
    lease = 10.0 if isinstance(server, Consul) else 1.0
    lost = leader_of(server, "lost", lease=lease)
    term = await lost.aacquire(0.0)
    other = leader_of(server, "lost")
    async with asyncio.timeout(3 * lease + 5):
        while (next_term := await other.aacquire(0.0)) is None:
            await asyncio.sleep(0.1)
    assert next_term.token > term.token
    assert await lost.arenew(term, 0.0) is None
    await other.arelease(next_term)


@pytest.mark.parametrize(("kind", "lease"), [(ConsulLeadership, 5.0), (EtcdLeadership, 0.5)])
def test_a_lease_that_cannot_be_kept_is_told_at_once(kind: Any, lease: float) -> None:
    with pytest.raises(ConfigError, match="lease"):
        kind("fleet", lease=lease)
