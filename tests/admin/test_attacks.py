"""Attacks, each refused."""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPConnection
from typing import Any

import pytest

from langchain_cluster.admin import TOKEN_ENV, Rules, create_app
from langchain_cluster.admin import gate as gates
from langchain_cluster.admin.gate import Gate
from langchain_cluster.admin.rates import MOST_CLIENTS, Rates
from langchain_cluster.errors import ConfigError
from langchain_cluster.llm import ClusteredLLM
from tests.admin.conftest import BEARER, TOKEN, Here, served

WRITES = [
    "/endpoints/a/drain",
    "/endpoints/a/force-open",
    "/cache/clear",
    "/rebalance",
    "/promote",
    "/demote",
]


def untouched(llm: ClusteredLLM) -> bool:
    member = llm.cluster.pool.list()[0]
    return (member.status.value, member.breaker_state.value) == ("online", "closed")


# -- tokens -----------------------------------------------------------------------------------------

WRONG = [
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Bearer {TOKEN}x"},
    {"authorization": f"Bearer {TOKEN[:-1]}"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN},
    {"cookie": f"token={TOKEN}"},
    {"x-token": TOKEN},
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
@pytest.mark.parametrize("path", WRITES)
def test_a_write_needs_the_token(here: Here, llm: ClusteredLLM, path: str, headers: dict[str, str]) -> None:
    told = here().post(path, headers=headers)
    assert told.status_code == 401
    assert told.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN not in told.text
    assert untouched(llm)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_any_method_that_is_no_read_needs_the_token(here: Here, method: str) -> None:
    assert here().request(method, "/endpoints").status_code == 401


def test_two_authorizations_are_none(here: Here) -> None:
    headers = [("authorization", BEARER["authorization"]), ("authorization", "Bearer other")]
    assert here().post("/rebalance", headers=headers).status_code == 401


def test_a_token_in_the_address_is_refused_even_when_it_is_right(here: Here, llm: ClusteredLLM) -> None:
    for name in ("token", "access_token", "TOKEN", "key"):
        assert here().post(f"/endpoints/a/drain?{name}={TOKEN}", headers=BEARER).status_code == 400
        assert here().get(f"/endpoints?{name}={TOKEN}").status_code == 400
    assert untouched(llm)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_a_token_set_nobody_may_write(
    here: Here, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(TOKEN_ENV) if value is None else monkeypatch.setenv(TOKEN_ENV, value)
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": f"Bearer {value}"}):
        told = here().post("/endpoints/a/drain", headers=headers)
        assert told.status_code == 403
        assert TOKEN_ENV in told.json()["error"]


def test_a_token_that_is_exchanged_holds_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    client = here()
    monkeypatch.setenv(TOKEN_ENV, "another-token-altogether")
    assert client.post("/rebalance", headers=BEARER).status_code == 401


def test_tokens_are_compared_in_constant_time(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("langchain_cluster.admin.gate.hmac.compare_digest", compare)
    client = here()
    for token in ("", "x", TOKEN, "x" * 500):
        client.post("/rebalance", headers={"authorization": f"Bearer {token}"})
    assert compared == [(32, 32)] * 4  # digests: neither a letter nor the length shows


# -- from elsewhere ---------------------------------------------------------------------------------

ELSEWHERE: list[tuple[str, dict[str, str]]] = [
    ("10.0.0.9", {}),
    ("2001:db8::1", {}),
    ("::ffff:10.0.0.9", {}),
    ("testclient", {}),
    ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
    ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
    ("127.0.0.1", {"x-real-ip": "127.0.0.1"}),
    ("127.0.0.1", {"x-forwarded-proto": "https"}),
    ("127.0.0.1", {"cf-connecting-ip": "127.0.0.1"}),
]


@pytest.mark.parametrize("path", ["/health", "/endpoints", "/config", "/metrics", "/events"])
@pytest.mark.parametrize(("client", "headers"), ELSEWHERE)
def test_reading_from_elsewhere_needs_the_token(
    here: Here, client: str, headers: dict[str, str], path: str
) -> None:
    away = here(client=client)
    assert away.get(path, headers=headers).status_code == 401
    if path != "/events":
        assert away.get(path, headers={**headers, **BEARER}).status_code == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_reading_from_here_needs_none(here: Here, client: str) -> None:
    assert here(client=client).get("/endpoints").status_code == 200


def test_a_client_without_an_address_is_from_elsewhere() -> None:
    assert not gates.is_local(gates.Head("GET", "/", "", {}, None))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9465", "127.0.0.1.evil.example", "localhost.", "10.0.0.1"]
)
def test_a_name_that_was_bent_to_point_here_is_not_served(here: Here, host: str) -> None:
    told = here().get("/endpoints", headers={"host": host})
    assert told.status_code == 421
    assert here().post("/rebalance", headers={"host": host, **BEARER}).status_code == 421


@pytest.mark.parametrize("host", ["", "a b", "localhost/x", "user@localhost", "localhost:999999", "[::1"])
def test_a_host_header_that_is_none_is_refused(here: Here, host: str) -> None:
    assert here().get("/endpoints", headers={"host": host}).status_code == 400


def test_further_hosts_are_named(here: Here) -> None:
    for host in ("LocalHost", "[::1]:9465", "ops.example", "ops.example:443"):
        assert here(hosts=["ops.example"]).get("/health", headers={"host": host}).status_code == 200
    assert here(hosts=["*"]).get("/health", headers={"host": "anything"}).status_code == 200


@pytest.mark.parametrize("hosts", ["ops.example:443", ["a b"], [""], ["http://x"]])
def test_what_is_no_host_is_a_config_error(hosts: Any) -> None:
    with pytest.raises(ConfigError, match="give it without port"):
        Gate(TOKEN_ENV, hosts)


def test_a_token_in_place_of_its_variables_name_is_not_shown(llm: ClusteredLLM) -> None:
    with pytest.raises(ConfigError) as refused:
        create_app(llm, token_env=TOKEN)
    assert TOKEN not in str(refused.value)


CROSS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://127.0.0.1:1"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
]


@pytest.mark.parametrize("headers", CROSS, ids=str)
def test_pages_of_other_sites_may_neither_write_nor_read(
    here: Here, llm: ClusteredLLM, headers: dict[str, str]
) -> None:
    assert here().post("/endpoints/a/drain", headers={**headers, **BEARER}).status_code == 403
    assert here().get("/endpoints", headers=headers).status_code == 403
    assert here().get("/events", headers=headers).status_code == 403
    assert untouched(llm)


def test_our_own_page_may_and_a_link_may_be_followed(here: Here) -> None:
    own = {"origin": "http://127.0.0.1:9465", "sec-fetch-site": "same-origin"}
    assert here().post("/endpoints/a/drain", headers={**own, **BEARER}).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert here().get("/", headers=link).status_code == 200
    assert here().post("/rebalance", headers={**link, **BEARER}).status_code == 403


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
)
def test_what_a_form_can_send_is_no_body(here: Here, kind: str) -> None:
    told = here().post("/rebalance", headers={**BEARER, "content-type": kind}, content=b"{}")
    assert told.status_code == 415


# -- paths, bodies, rates ---------------------------------------------------------------------------


def test_a_body_has_a_limit(here: Here) -> None:
    client = here(rules=Rules(body_bytes=100))
    headers = {**BEARER, "content-type": "application/json"}
    assert client.post("/rebalance", headers=headers, content=b" " * 98 + b"{}").status_code == 200
    assert client.post("/rebalance", headers=headers, content=b" " * 99 + b"{}").status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5000])
def test_a_length_that_is_none_is_refused(here: Here, length: str) -> None:
    assert here().post("/rebalance", headers={**BEARER, "content-length": length}).status_code == 413


def test_who_asks_too_often_is_told_when_to_come_again(here: Here) -> None:
    client = here(rules=Rules(reads_per_minute=8, writes_per_minute=4))
    assert [client.get("/health").status_code for _ in range(4)] == [200, 200, 429, 429]
    assert [client.post("/rebalance").status_code for _ in range(2)] == [401, 429]
    assert int(client.get("/health").headers["retry-after"]) <= 8


def test_rates_are_by_client_and_come_back_with_time() -> None:
    rates = Rates(60.0)
    assert [rates.wait("a", 0.0) for _ in range(16)] == [0.0] * 15 + [1.0]
    assert rates.wait("b", 0.0) == 0.0
    assert rates.wait("a", 1.0) == 0.0
    assert rates.wait("a", 1.0) > 0.0
    for number in range(2 * MOST_CLIENTS):
        rates.wait(str(number), 1.0)
    assert len(rates._buckets) == MOST_CLIENTS


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5"])
def test_a_limit_is_a_number_above_zero(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"rules\.body_seconds"):
        Rules(body_seconds=value)


def raw(port: int, text: str, *, read: int = 65_536) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        answer = b""
        while chunk := connection.recv(read):
            answer += chunk
        return answer.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/endpoints/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/endpoints/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/dashboard.html",
        "/endpoints/..%00",
    ],
)
def test_a_path_leads_to_no_file(port: int, path: str) -> None:
    answer = raw(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
    assert answer.startswith("HTTP/1.1 404")
    assert "root:" not in answer


def write(port: int, more: str, body: str = "") -> str:
    head = f"POST /rebalance HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    return raw(port, f"{head}Content-Type: application/json\r\n{more}\r\n{body}")


def test_a_body_that_does_not_come_ends_the_connection(port: int) -> None:
    answer = write(port, "Content-Length: 10\r\n", "{")
    assert answer.startswith("HTTP/1.1 408")
    assert "connection: close" in answer.lower()


def test_a_body_that_never_ends_ends_the_connection(port: int) -> None:
    answer = write(port, "Transfer-Encoding: chunked\r\n", f"4E20\r\n{' ' * 20_000}\r\n")
    assert answer.startswith("HTTP/1.1 413")


def test_a_stranger_sends_no_body_at_all(port: int) -> None:
    """Who has no token is refused by the head alone, before anything is read."""
    began = time.monotonic()
    answer = raw(port, f"POST /rebalance HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 10000\r\n"
                       "Connection: close\r\n\r\n")  # fmt: skip
    assert answer.startswith("HTTP/1.1 401")
    assert time.monotonic() - began < 10


def test_two_host_headers_are_refused(port: int) -> None:
    answer = raw(
        port, f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith("HTTP/1.1 400")


def test_a_websocket_is_refused(here: Here) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), here().websocket_connect("/events"):
        pass


# -- streams ----------------------------------------------------------------------------------------


def stream(port: int) -> tuple[HTTPConnection, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/events")
    return connection, connection.getresponse()


def test_a_thousand_streams_are_a_few_and_the_rest_is_refused(port: int) -> None:
    held, statuses = [], []
    for _ in range(1000):
        connection, answer = stream(port)
        statuses.append(answer.status)
        if answer.status == 200:
            held.append((connection, answer))
        else:
            connection.close()
    assert (statuses.count(200), statuses.count(503)) == (4, 996)
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/endpoints")
    assert connection.getresponse().status == 200  # everything else goes on
    connection.close()
    for connection, answer in held:
        answer.close()
        connection.close()
    for _ in range(200):  # who left has freed the place
        connection, answer = stream(port)
        status = answer.status
        answer.close()
        connection.close()
        if status == 200:
            break
        time.sleep(0.02)
    assert status == 200


def heard(answer: Any, kind: str) -> Any:
    """The next event of that kind."""
    while True:
        line = answer.readline().decode().strip()
        if line == f"event: {kind}":
            return json.loads(answer.readline().decode().removeprefix("data: "))


def test_a_stream_tells_what_is_and_what_happens(port: int, llm: ClusteredLLM) -> None:
    connection, answer = stream(port)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [e["id"] for e in heard(answer, "snapshot")["endpoints"]] == ["a", "b"]
    llm.cluster.pool.force_open("a")
    assert heard(answer, "BreakerChanged")["state"] == "forced_open"
    assert heard(answer, "snapshot")["endpoints"][0]["circuit"] in ("closed", "forced_open")
    answer.close()
    connection.close()


def test_a_stream_ends_with_the_cluster(port: int, llm: ClusteredLLM) -> None:
    connection, answer = stream(port)
    heard(answer, "snapshot")
    llm.cluster.close()
    assert answer.read()[:0] == b""  # it ends
    connection.close()


def test_asking_for_a_streams_head_opens_none(here: Here) -> None:
    told = here(rules=Rules(streams=1)).head("/events")
    assert told.status_code == 200
    assert told.headers["content-type"].startswith("text/event-stream")


def test_streams_end_when_the_server_stops(llm: ClusteredLLM) -> None:
    app = create_app(llm, rules=Rules(every=0.01))
    with served(app) as port:
        connection, answer = stream(port)
        heard(answer, "snapshot")
        app.state.streams.end()
        answer.read()  # it ends
        connection.close()
        connection, answer = stream(port)
        assert answer.status == 503
        connection.close()


def test_a_stream_that_nobody_reads_is_given_up(llm: ClusteredLLM) -> None:
    import asyncio

    app = create_app(llm, rules=Rules(stall_seconds=0.05, every=0.01))

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        scope = {
            "type": "http", "method": "GET", "path": "/events", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "http_version": "1.1",
            "scheme": "http", "server": ("localhost", 80),
        }  # fmt: skip
        await asyncio.wait_for(app(scope, receive, send), 10)  # type: ignore[arg-type]

    asyncio.run(ask())
    route = next(route for route in app.routes if getattr(route, "path", "") == "/events")
    assert route.app.open == 0  # type: ignore[attr-defined]
