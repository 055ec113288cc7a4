"""Consul and etcd hang for half a minute: connections are taken, or stay open, and nothing is ever said."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("consul")

from langchain_cluster import Endpoint
from langchain_cluster.discovery import ConsulDiscovery, ConsulRegistrar, EtcdDiscovery, EtcdRegistrar
from tests.services.following import Following
from tests.services.registry_servers import Consul, Etcd, Folder

pytestmark = pytest.mark.services
FROZEN = 30.0  # seconds
ALL = {"g1": 1.0, "g2": 1.0, "g3": 1.0}


@pytest.fixture
def folder() -> Iterator[Folder]:
    folder = Folder()
    yield folder
    folder.close()


def endpoint(id: str, weight: float = 1.0) -> Endpoint:
    return Endpoint(id, url=f"http://10.0.0.{id[-1]}:8000", weight=weight)


def test_nothing_changes_while_they_are_frozen_and_the_pool_is_right_soon_after(folder: Folder) -> None:
    """Both at once. One source waits longer than that, another gives up and asks again many times."""
    servers = [Consul(folder, "c"), Etcd(folder, "e")]
    for server in servers:
        server.start().wait_ready()
    consul, etcd = (server.url for server in servers)
    registrars: list[Any] = [ConsulRegistrar("llm", consul, ttl=600), EtcdRegistrar("/llm/", etcd, ttl=600)]
    for registrar in registrars:
        for id in ALL:
            registrar.register(endpoint(id))
    patient: Any = {"wait": 60.0}
    impatient: Any = {"wait": 1.0, "timeout": 0.5}
    sources = [ConsulDiscovery("llm", consul, **how) for how in (patient, impatient)]
    sources += [EtcdDiscovery("/llm/", etcd, **how) for how in (patient, impatient)]  # type: ignore[misc]
    with ExitStack() as stack:
        all_following = [stack.enter_context(Following(source)) for source in sources]
        for server in servers:
            server.signal(signal.SIGSTOP)
        try:
            for following in all_following:
                following.stays(ALL, FROZEN / len(all_following))
        finally:
            for server in servers:
                server.signal(signal.SIGCONT)
        for server in servers:
            server.wait_ready()
        for registrar in registrars:
            registrar.register(endpoint("g2", 4.0))
        for following in all_following:
            following.soon({**ALL, "g2": 4.0})
