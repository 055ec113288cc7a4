"""Where the connections of discovered models lead is looked at, whichever library makes their requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, EndpointFactory, Policy, StaticDiscovery
from langchain_cluster.config import watched
from langchain_cluster.endpoints import connections
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Rejected
from langchain_cluster.testing import SimulatedServer

SECRET = "sk-very-secret"
LIBRARIES = {"openai": "langchain_openai", "anthropic": "langchain_anthropic", "ollama": "langchain_ollama"}
PATHS = {"openai": "/v1", "anthropic": "", "ollama": ""}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", SECRET)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody may be asked by way of it
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")


@pytest.fixture(params=sorted(LIBRARIES))
def provider(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(LIBRARIES[request.param])
    return str(request.param)


def factory_for(provider: str, **options: Any) -> EndpointFactory:
    return EndpointFactory(f"{provider}:m", None, "GPU_KEY", ["localhost", "127.0.0.0/8"], **options)


def model_of(factory: EndpointFactory, url: str) -> Any:
    endpoint = factory.attach(Endpoint("a", url=url))
    assert isinstance(endpoint, Endpoint), endpoint
    return endpoint.model.made()


class Elsewhere:
    """Sends everybody on to /metadata."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                served.paths.append(self.path)
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(307)
                self.send_header("Location", "/metadata")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    server = Elsewhere()
    yield server
    server.http.shutdown()
    server.http.server_close()
    server.thread.join()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_calls_are_answered_over_our_connections(provider: str) -> None:
    pytest.importorskip(LIBRARIES[provider])
    with SimulatedServer(record_secrets=True) as server:
        found = Endpoint("a", url=server.url + PATHS[provider])
        llm = ClusteredLLM(discovery=StaticDiscovery([found]), factory=factory_for(provider))
        assert "hello" in llm.invoke("hello").text
        assert "".join([chunk.text async for chunk in llm.astream("hello")])
        assert "hello" in (await llm.ainvoke("hello")).text
        assert "".join(chunk.text for chunk in llm.stream("hello"))
        await llm.cluster.aclose()
        assert len(server.log) == 4


async def test_a_name_that_leads_to_a_metadata_service_is_sent_nothing(
    provider: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name was allowed. Loopback plays the address that is not."""
    model = model_of(factory_for(provider), elsewhere.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setattr(connections, "host_problem", lambda host: "metadata" if host == "127.0.0.1" else None)
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        model.invoke("hello")
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        await model.ainvoke("hello")
    assert elsewhere.paths == []


async def test_no_face_of_a_cluster_finds_a_way_around_that(
    provider: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Endpoint("a", url=elsewhere.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setattr(connections, "host_problem", lambda host: "metadata" if host == "127.0.0.1" else None)
    policy = Policy(attempts=1)
    llm = ClusteredLLM(discovery=StaticDiscovery([found]), factory=factory_for(provider), policy=policy)
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        llm.invoke("hello")
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        list(llm.stream("hello"))
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        await llm.ainvoke("hello")
    with pytest.raises(Exception, match=r"(?i)connect|metadata"):
        [chunk async for chunk in llm.astream("hello")]
    await llm.cluster.aclose()
    assert elsewhere.paths == []


async def test_nobody_is_followed_elsewhere(provider: str, elsewhere: Elsewhere) -> None:
    model = model_of(factory_for(provider), elsewhere.url)
    with pytest.raises(Exception):
        model.invoke("hello")
    with pytest.raises(Exception):
        await model.ainvoke("hello")
    assert len(elsewhere.paths) >= 2, "it was not asked at all"
    assert "/metadata" not in elsewhere.paths


def test_what_idles_is_closed_when_the_endpoint_has_left(provider: str, elsewhere: Elsewhere) -> None:
    factory = factory_for(provider)
    endpoint = factory.attach(Endpoint("a", url=elsewhere.url))
    assert isinstance(endpoint, Endpoint)
    endpoint.model.made()
    (own,) = factory._connections.values()
    factory.release(endpoint)
    assert own.transport._pool.connections == []
    assert factory._connections == {}


def test_where_connections_are_not_ours_a_name_is_refused() -> None:
    factory = EndpointFactory("mistralai:m", None, "GPU_KEY", ["localhost", "127.0.0.0/8"])
    refused = factory.attach(Endpoint("a", url="http://localhost:8000"))
    assert isinstance(refused, Rejected)
    assert refused.reason == (
        "its address is a name, and where one leads is only looked at for anthropic, ollama, openai: not for "
        "mistralai"
    )
    assert isinstance(factory.attach(Endpoint("a", url="http://127.0.0.1:8000")), Endpoint)
    assert isinstance(factory.attach(Endpoint("a", url="http://[::1]:8000")), Rejected)  # not allowed
    without = EndpointFactory("mistralai:m")
    assert isinstance(without.attach(Endpoint("a", url="http://gpu.internal")), Rejected)
    assert isinstance(without.attach(Endpoint("a", url="http://[fd00::7]:8000")), Endpoint)


def test_a_script_needs_no_address_that_is_looked_at() -> None:
    assert isinstance(
        EndpointFactory("scripted:m").attach(Endpoint("a", url="http://gpu.internal")), Endpoint
    )


@pytest.mark.parametrize(("provider", "name"), [("openai", "openai_proxy"), ("anthropic", "anthropic_proxy")])
def test_a_proxy_is_refused(provider: str, name: str) -> None:
    pytest.importorskip(LIBRARIES[provider])
    with pytest.raises(ConfigError, match=f"params.{name}: discovered endpoints are not called by way of"):
        model_of(factory_for(provider, params={name: "http://127.0.0.1:9"}), "http://127.0.0.1:8")


def test_a_library_that_makes_its_connections_in_another_way_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind: Any = pytest.importorskip("langchain_anthropic").ChatAnthropic
    monkeypatch.setattr(kind, "_async_client", property(lambda self: None))
    with pytest.raises(ConfigError, match="makes its connections in another way"):
        model_of(factory_for("anthropic"), "http://127.0.0.1:8")


def test_options_of_the_users_own_clients_stay() -> None:
    pytest.importorskip("langchain_ollama")
    params = {"sync_client_kwargs": {"headers": {"X-Team": "a"}, "follow_redirects": True}}
    model = model_of(factory_for("ollama", params=params), "http://127.0.0.1:8")
    inner = model._client._client
    assert inner.headers["X-Team"] == "a"
    assert inner.follow_redirects is False


def test_clients_are_of_the_library_that_an_sdk_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def sdk(module: str) -> Any:
        base = type("Client", (), {"__module__": module})
        return SimpleNamespace(DefaultHttpxClient=type("Default", (base,), {"__module__": "sdk._client"}))

    for module in ("httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, "an_sdk", sdk(module))
        assert watched.library_of("an_sdk") == module
    assert watched.library_of("not_installed_anywhere") == "httpx"
    monkeypatch.setitem(sys.modules, "an_sdk", SimpleNamespace())
    assert watched.library_of("an_sdk") == "httpx"


def test_who_is_watched() -> None:
    assert [watched.is_watched(name) for name in ("openai", "anthropic", "ollama", "mistralai")] == [
        True,
        True,
        True,
        False,
    ]
