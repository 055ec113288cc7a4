"""Sockets, lifecycle and log of the simulated server."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import httpx
import pytest

from langchain_cluster.testing import simulated
from langchain_cluster.testing.simulated import LogNormal, SimulatedServer, Uniform, faults
from langchain_cluster.testing.simulated.http import Reader
from langchain_cluster.testing.simulated.latency import parse

ROOT = Path(simulated.__file__).parents[3]
CALL = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


def call(server: SimulatedServer, endpoint: str | None = "gpu-1", **changes: object) -> httpx.Response:
    url = f"{server.openai_url(endpoint)}/chat/completions"
    return httpx.post(url, json=CALL | changes, headers={"authorization": "Bearer sk-1"}, timeout=5)


def text(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def simulated_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("simulated-server")]


# -- lifecycle -------------------------------------------------------------


def test_one_server_has_many_endpoints(server: SimulatedServer) -> None:
    assert text(call(server, "gpu-1")) == "gpu-1 says: hello"
    assert text(call(server, "gpu-2")) == "gpu-2 says: hello"
    assert text(call(server, None)) == "default says: hello"


def test_start_and_stop_can_be_repeated() -> None:
    server = SimulatedServer()
    assert server.start() is server.start()
    server.stop()
    server.stop()
    assert repr(server) == "<SimulatedServer stopped, 0 calls seen>"


def test_it_comes_back_on_the_same_port() -> None:
    with SimulatedServer() as server:
        url = server.url
        call(server)
    with pytest.raises(httpx.ConnectError):
        call(server)
    with server:
        assert server.url == url
        assert text(call(server)) == "gpu-1 says: hello"
        assert server.count() == 2


def test_a_taken_port_is_an_error_at_the_start(server: SimulatedServer) -> None:
    with pytest.raises(OSError):
        SimulatedServer(port=server.port).start()


async def test_async_with_serves_the_loop_it_was_started_in() -> None:
    async with SimulatedServer() as server, httpx.AsyncClient() as client:
        response = await client.get(server.health_url("gpu-1"))
    assert response.json() == {"status": "ok", "endpoint": "gpu-1"}


def test_stopping_is_quick_and_leaves_nothing_even_with_hanging_calls() -> None:
    files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    others = simulated_threads()  # of servers that other tests share
    server = SimulatedServer().start()
    server.fail(faults.Hang())
    with contextlib.ExitStack() as stack:
        body = json.dumps(CALL).encode()
        request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        for _ in range(8):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            sock.sendall(request + body)
        assert server.wait_until(lambda: server.in_flight("default") == 8)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2.0
        assert {entry.outcome for entry in server.log} == {"stopped"}
        assert server.in_flight() == 0
        assert server.connections == 0
        assert sock.recv(1) == b""
    assert simulated_threads() == others
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == files


def test_it_runs_as_a_process_that_can_be_killed() -> None:
    command = [sys.executable, "-m", "langchain_cluster.testing.simulated", "--name", "a", "--tokens", "4"]
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert text(httpx.post(f"{url}/v1/chat/completions", json=CALL)) == "a says: hello a"
            process.send_signal(ending)
            assert process.wait(5) == (0 if ending is signal.SIGTERM else -signal.SIGKILL)


# -- HTTP ------------------------------------------------------------------


def test_connections_are_kept_alive(server: SimulatedServer) -> None:
    with httpx.Client() as client:
        for _ in range(3):
            client.post(f"{server.openai_url()}/chat/completions", json=CALL).raise_for_status()
            client.head(server.health_url()).raise_for_status()
        assert server.connections == 1
    assert server.wait_until(lambda: server.connections == 0)


def test_a_client_may_ask_to_close(server: SimulatedServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = b""
        while data := sock.recv(4096):
            received += data
    assert b"\r\nconnection: close\r\n" in received
    assert received.endswith(b"}")


def test_a_chunked_request_body_is_read(server: SimulatedServer) -> None:
    def body() -> Iterator[bytes]:
        yield b'{"model": "m", "messages": '
        yield b'[{"role": "user", "content": "in parts"}]}'

    url = f"{server.openai_url()}/chat/completions"
    assert text(httpx.post(url, content=body())) == "default says: in parts"


def test_requests_may_come_byte_by_byte_and_on_each_others_heels() -> None:
    body = json.dumps(CALL).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:], b""))
    chunked = b"POST /a%20b?x=1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    sized = b"POST /c HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"
    reader = Reader()
    found = []
    for byte in chunked + sized:
        reader.feed(bytes([byte]))
        if (request := reader.next()) is not None:
            found.append(request)
    assert [(one.path, one.body, one.keep_alive) for one in found] == [
        ("/a b", body, True),
        ("/c", b"{}", False),
    ]


def test_a_second_request_waits_for_the_first_answer(server: SimulatedServer) -> None:
    probe = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(probe + probe)
        received = b""
        while received.count(b'"status":"ok"') < 2:
            received += sock.recv(4096)
    assert [entry.outcome for entry in server.log] == ["completed"] * 2


@pytest.mark.parametrize("junk", [b"what?\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"])
def test_what_is_not_http_is_refused(server: SimulatedServer, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(junk)
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert sock.recv(4096) == b""


def test_an_unknown_path_and_a_body_that_is_not_json(server: SimulatedServer) -> None:
    unknown = httpx.post(f"{server.url}/v1/nothing", json={})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
    broken = httpx.post(f"{server.openai_url()}/chat/completions", content=b"{")
    assert broken.status_code == 400
    assert "parse the JSON body" in broken.json()["error"]["message"]


# -- behaviour -------------------------------------------------------------


def test_a_reply_can_be_set_per_endpoint(server: SimulatedServer) -> None:
    server.behave("gpu-1", reply="always this")
    server.behave("gpu-2", reply=lambda ask: ask.text.upper(), tokens=3)
    assert text(call(server, "gpu-1")) == "always this"
    assert text(call(server, "gpu-2")) == "HELLO HELLO HELLO"
    assert text(call(server, "gpu-3")) == "gpu-3 says: hello"


def test_a_reply_that_raises_is_told_to_the_client(server: SimulatedServer) -> None:
    server.behave(reply=lambda ask: ask.text[99])
    response = call(server)
    assert response.status_code == 500
    assert "IndexError" in response.json()["error"]["message"]


def test_behaviours_add_up(server: SimulatedServer) -> None:
    server.behave("gpu-1", reply="one two three")
    server.behave("gpu-1", tokens=2)
    assert text(call(server)) == "one two"


def test_an_endpoint_serves_the_models_it_has(server: SimulatedServer) -> None:
    server.behave("gpu-1", models=("m", "n"))
    listed = httpx.get(f"{server.openai_url('gpu-1')}/models").json()
    assert [model["id"] for model in listed["data"]] == ["m", "n"]
    assert call(server).status_code == 200
    assert call(server, model="other").json()["error"]["code"] == "model_not_found"


def test_latency_comes_before_the_answer(server: SimulatedServer) -> None:
    server.behave(latency=0.03)
    assert call(server).elapsed.total_seconds() >= 0.03
    (entry,) = server.seen()
    assert entry.seconds is not None
    assert entry.seconds >= 0.03


def test_tokens_come_one_by_one(server: SimulatedServer) -> None:
    server.behave(first_token=0.02, between_tokens=0.01, tokens=4)
    began = time.monotonic()
    arrived = []
    url = f"{server.openai_url()}/chat/completions"
    with httpx.stream("POST", url, json=CALL | {"stream": True}) as response:
        for line in response.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                arrived.append(time.monotonic() - began)
    assert len(arrived) == 4
    assert arrived[0] >= 0.02
    assert arrived[-1] - arrived[0] >= 0.02


def test_latencies_are_drawn_from_a_seed() -> None:
    for latency in (LogNormal(median=0.2, sigma=0.5), Uniform(0.1, 0.3)):
        assert latency.draw(Random(1)) == latency.draw(Random(1)) != latency.draw(Random(2))
    draws = sorted(LogNormal(0.2, 0.5).draw(rng) for rng in [Random(3)] for _ in range(1001))
    assert draws[500] == pytest.approx(0.2, rel=0.1)
    assert parse("0.5") == 0.5
    assert parse("lognormal:0.2,0.5") == LogNormal(0.2, 0.5)
    with pytest.raises(ValueError, match="expected seconds"):
        parse("gauss:1")


# -- log -------------------------------------------------------------------


def test_the_log_tells_what_was_asked_and_how_it_ended(server: SimulatedServer) -> None:
    call(server)
    (entry,) = server.seen("gpu-1")
    assert (entry.endpoint, entry.model, entry.method) == ("gpu-1", "m", "POST")
    assert entry.path == "/gpu-1/v1/chat/completions"
    assert entry.body == CALL
    assert (entry.stream, entry.fault, entry.status, entry.outcome) == (False, None, 200, "completed")
    assert entry.at <= time.monotonic()


def test_keys_are_not_recorded_unless_asked_for(server: SimulatedServer) -> None:
    call(server)
    assert server.log[0].headers["authorization"] == "***"
    assert "sk-1" not in repr(server.log)
    with SimulatedServer(record_secrets=True) as leaky:
        call(leaky)
    assert leaky.log[0].headers["authorization"] == "Bearer sk-1"


def test_probes_are_logged_but_not_counted(server: SimulatedServer) -> None:
    httpx.get(server.health_url("gpu-1"))
    call(server)
    assert len(server.log) == 2
    assert len(server.probes("gpu-1")) == 1
    assert server.count("gpu-1") == server.count() == len(server.seen()) == 1
    assert server.count("gpu-2") == 0


def test_the_log_can_be_cleared(server: SimulatedServer) -> None:
    call(server)
    server.clear_log()
    assert (server.log, server.count(), server.peak_in_flight("gpu-1")) == ([], 0, 0)


def test_the_log_keeps_the_newest_and_counts_all() -> None:
    with SimulatedServer(keep=2) as server:
        for endpoint in ("a", "b", "c"):
            call(server, endpoint)
    assert [entry.endpoint for entry in server.log] == ["b", "c"]
    assert server.count() == 3


async def test_a_hanging_call_is_visible_and_a_client_that_leaves_is_noticed() -> None:
    async with SimulatedServer() as server, httpx.AsyncClient() as client:
        server.fail(faults.Hang(), endpoint="gpu-1")
        url = f"{server.openai_url('gpu-1')}/chat/completions"
        tasks = [asyncio.create_task(client.post(url, json=CALL)) for _ in range(3)]
        assert await asyncio.to_thread(server.wait_until, lambda: server.in_flight("gpu-1") == 3)
        assert [entry.outcome for entry in server.log] == ["open"] * 3
        assert server.log[0].seconds is None
        assert repr(server) == (
            f"<SimulatedServer {server.url}, 1 faults, 3 connections, 3 of 3 calls in flight>"
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.to_thread(server.wait_until, lambda: server.in_flight() == 0)
        assert {entry.outcome for entry in server.log} == {"client_left"}
        assert server.peak_in_flight("gpu-1") == 3


def test_a_client_that_stops_reading_a_stream_is_noticed(server: SimulatedServer) -> None:
    server.behave(between_tokens=0.01, tokens=1000)
    url = f"{server.openai_url()}/chat/completions"
    with httpx.stream("POST", url, json=CALL | {"stream": True}) as response:
        next(response.iter_lines())
        assert server.seen()[0].status == 200
    assert server.wait_until(lambda: server.seen()[0].outcome == "client_left")
    assert server.wait_until(lambda: server.connections == 0)
