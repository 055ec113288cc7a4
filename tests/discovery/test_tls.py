"""Registries over TLS: who is trusted, what is shown, and what is said when that fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("consul")
pytest.importorskip("trustme")

from langchain_cluster import ClusteredLLM
from langchain_cluster.discovery import ConsulDiscovery, ConsulRegistrar, EtcdDiscovery, EtcdRegistrar
from langchain_cluster.errors import DiscoveryError
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.events import DiscoveryFailed
from tests.certificates import Files, authority, server_context
from tests.contracts.discovery import Fetching, weights
from tests.discovery.fake_consul import FakeConsul
from tests.discovery.fake_etcd import PREFIX, FakeEtcd

Fake = FakeConsul | FakeEtcd


@pytest.fixture
def ours(tmp_path: Path) -> Files:
    return authority(tmp_path, "ours")


@pytest.fixture
def foreign(tmp_path: Path) -> Files:
    return authority(tmp_path, "foreign")


@pytest.fixture(params=[FakeConsul, FakeEtcd])
def fake(request: pytest.FixtureRequest) -> Fake:
    made: Fake = request.param()
    return made


@pytest.fixture
def registry(fake: Fake, ours: Files) -> Iterator[Fake]:
    fake.secure(server_context(ours))
    with fake:
        fake.put({"a": 1.0})
        yield fake


def source(fake: Fake, url: str | None = None, **how: Any) -> Any:
    url = fake.url if url is None else url
    if isinstance(fake, FakeConsul):
        return ConsulDiscovery("gpu", url, now=fake.clock.now, **how)
    return EtcdDiscovery(PREFIX, url, now=fake.clock.now, **how)


def registrar(fake: Fake, **how: Any) -> Any:
    if isinstance(fake, FakeConsul):
        return ConsulRegistrar("gpu", fake.url, **how)
    return EtcdRegistrar(PREFIX, fake.url, **how)


def test_a_certificate_of_an_authority_that_is_trusted(registry: Fake, ours: Files, colour: str) -> None:
    reader = source(registry, ca=ours.ca)
    first = Fetching(reader, None, colour).roster()
    assert weights(first) == {"a": 1.0}
    fetching = Fetching(reader, first.revision, colour)
    registry.until_waited_for()
    registry.put({"a": 2.0})
    assert weights(fetching.roster()) == {"a": 2.0}


@pytest.mark.parametrize("trusted", ["foreign", "public"])
def test_any_other_one_is_refused_and_the_error_says_so(
    registry: Fake, foreign: Files, trusted: str, colour: str
) -> None:
    reader = source(registry, ca=foreign.ca if trusted == "foreign" else None)
    with pytest.raises(DiscoveryError, match=r"its certificate is not trusted \(.+\): `ca` says whose are"):
        Fetching(reader, None, colour).roster()
    assert registry.asked == []


def test_a_certificate_for_another_name_is_refused(registry: Fake, ours: Files, colour: str) -> None:
    reader = source(registry, registry.url.replace("127.0.0.1", "localhost"), ca=ours.ca)
    with pytest.raises(DiscoveryError, match=r"not trusted .*[Hh]ostname"):
        Fetching(reader, None, colour).roster()
    assert registry.asked == []


def test_verify_false_takes_any(registry: Fake, colour: str) -> None:
    assert weights(Fetching(source(registry, verify=False), None, colour).roster()) == {"a": 1.0}


def test_a_certificate_is_shown_to_who_asks_for_one(fake: Fake, ours: Files, colour: str) -> None:
    fake.secure(server_context(ours, asks_for_certificates=True))
    with fake:
        fake.put({"a": 1.0})
        shows = source(fake, ca=ours.ca, cert=ours.cert, key=ours.key)
        assert weights(Fetching(shows, None, colour).roster()) == {"a": 1.0}
        fake.asked.clear()
        with pytest.raises(DiscoveryError):
            Fetching(source(fake, ca=ours.ca), None, colour).roster()
        assert fake.asked == []


def test_closing_ends_a_fetch_that_waits_on_a_secure_connection(
    registry: Fake, ours: Files, colour: str
) -> None:
    reader = source(registry, ca=ours.ca)
    first = Fetching(reader, None, colour).roster()
    fetching = Fetching(reader, first.revision, colour)
    registry.until_waited_for()
    reader.close()
    with pytest.raises(DiscoveryError, match="closed"):
        fetching.roster()


def test_endpoints_are_announced_over_tls_and_never_to_a_stranger(
    registry: Fake, ours: Files, foreign: Files
) -> None:
    me = Endpoint("b", url="http://10.0.0.2:8000")
    with pytest.raises(DiscoveryError, match="not trusted"):
        registrar(registry, ca=foreign.ca).register(me)
    assert registry.asked == []
    registrar(registry, ca=ours.ca).register(me)
    assert registry.asked


def test_a_cluster_tells_why_nobody_is_there(registry: Fake, foreign: Files) -> None:
    llm = ClusteredLLM(discovery=source(registry, ca=foreign.ca))
    events: list[Any] = []
    llm.cluster.events.subscribe(events.append)
    with llm.cluster:
        end = time.monotonic() + 30
        while not events and time.monotonic() < end:
            time.sleep(0.005)
    failed = next(event for event in events if isinstance(event, DiscoveryFailed))
    assert "its certificate is not trusted" in failed.error
