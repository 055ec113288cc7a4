"""Connections go nowhere they must not, and are gone when nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx
import pytest

from langchain_cluster.endpoints import connections
from langchain_cluster.endpoints.connections import Connections


class Server:
    def __init__(self) -> None:
        self.requests: list[str] = []
        self.go_on = Event()
        self.go_on.set()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                served.requests.append(self.path)
                if self.path == "/elsewhere":
                    self.send_response(307)
                    self.send_header("Location", "/metadata")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"he")
                self.wfile.flush()
                served.go_on.wait(20)
                self.wfile.write(b"re")

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}".format(self._server.server_address[1])  # noqa: UP032
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def open_in(own: Connections) -> tuple[int, int]:
    blocking, awaited = own.transport._pool, own.async_transport._pool
    return len(blocking.connections), len(awaited.connections)


async def test_what_idles_is_closed_when_the_endpoint_has_left(server: Server) -> None:
    own = Connections()
    assert own.client.get(server.url).text == "here"
    assert (await own.async_client.get(server.url)).text == "here"
    assert open_in(own) == (1, 1)
    own.retire()
    for _ in range(10):
        await asyncio.sleep(0)
    assert open_in(own) == (0, 0)


async def test_a_call_under_way_ends_first(server: Server) -> None:
    own = Connections()
    server.go_on.clear()
    with own.client.stream("GET", server.url) as blocking:
        async with own.async_client.stream("GET", server.url) as awaited:
            own.retire()
            assert open_in(own) == (1, 1)
            server.go_on.set()
            assert await awaited.aread() == b"here"
        assert blocking.read() == b"here"
    assert open_in(own) == (0, 0)


def test_a_late_call_is_answered_and_leaves_nothing_open(server: Server) -> None:
    own = Connections()
    own.retire()
    assert own.client.get(server.url).text == "here"
    assert open_in(own) == (0, 0)


def test_what_idles_can_be_closed_for_a_while(server: Server) -> None:
    own = Connections()
    own.client.get(server.url)
    own.rest()
    assert open_in(own) == (0, 0)
    own.client.get(server.url)
    assert open_in(own) == (1, 0)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_an_sdk_may_close_its_clients(server: Server, library: str) -> None:
    pytest.importorskip(library)
    own = Connections(library)
    with own.client as client:
        assert client.get(server.url).text == "here"
    async with own.async_client as async_client:
        assert (await async_client.get(server.url)).text == "here"
    assert open_in(own) == (0, 0)


async def test_a_failed_request_is_counted_as_ended() -> None:
    own = Connections()
    with pytest.raises(httpx.ConnectError):
        own.client.get("http://127.0.0.1:9")
    with pytest.raises(httpx.ConnectError):
        await own.async_client.get("http://127.0.0.1:9")
    own.retire()
    assert open_in(own) == (0, 0)


async def test_a_name_that_leads_to_a_metadata_service_is_sent_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name was allowed. Loopback plays the address that is not."""
    monkeypatch.setattr(connections, "host_problem", lambda host: "metadata" if host == "127.0.0.1" else None)
    own = Connections()
    url = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(httpx.ConnectError, match="metadata"):
        own.client.get(url, headers={"Authorization": "Bearer secret"})
    with pytest.raises(httpx.ConnectError, match="metadata"):
        await own.async_client.get(url, headers={"Authorization": "Bearer secret"})
    assert server.requests == []


def test_nobody_is_followed_elsewhere(server: Server) -> None:
    assert Connections().client.get(f"{server.url}/elsewhere").status_code == 307
    assert server.requests == ["/elsewhere"]
