"""Each kind of check, blocking and awaited, against a server that is well, ill, slow or not there."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from threading import Lock
from typing import Any

import httpx
import pytest
import respx
from langchain_openai import ChatOpenAI

from langchain_cluster import ConfigError, Endpoint, Load
from langchain_cluster.errors import PluginError
from langchain_cluster.health import (
    All,
    Health,
    HealthCheck,
    HttpCheck,
    ModelCheck,
    Periodic,
    Quorum,
    TcpCheck,
    vllm,
)
from langchain_cluster.health import (
    Any as AnyOf,
)
from langchain_cluster.health.address import base_of, host_of
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults

Look = Callable[[Any, Endpoint], Awaitable[Health]]


@pytest.fixture(params=["check", "acheck"])
def look(request: pytest.FixtureRequest) -> Look:
    """One look in either colour."""

    async def look(check: Any, endpoint: Endpoint) -> Health:
        if request.param == "acheck":
            return await check.acheck(endpoint)
        return await asyncio.to_thread(check.check, endpoint)

    return look


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def quiet() -> Iterator[SimulatedServer]:
    """A server nobody else is connected to."""
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def endpoint(server: SimulatedServer) -> Iterator[Endpoint]:
    yield Endpoint("gpu-1", url=server.openai_url("gpu-1"))
    server.heal()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- HTTP -------------------------------------------------------------------------------------------


async def test_a_server_that_is_well_is_healthy(look: Look, endpoint: Endpoint) -> None:
    health = await look(HttpCheck(), endpoint)
    assert (health.ok, health.reason) == (True, "/health answered 200")
    assert 0 < health.seconds < 1


async def test_a_wrong_status_is_a_failure(look: Look, endpoint: Endpoint, server: SimulatedServer) -> None:
    server.fail(faults.Status(503), "gpu-1", on="probes")
    assert await look(HttpCheck(), endpoint) == Health(
        False, "/health answered 503", seconds=pytest.approx(0, abs=1)
    )
    assert (await look(HttpCheck(status=503), endpoint)).ok
    assert (await look(HttpCheck(status=range(200, 600)), endpoint)).ok


@pytest.mark.parametrize(
    ("body", "ok"),
    [('"status":"ok"', True), ("down", False), (re.compile(r'"end\w+"'), True), (re.compile("^x"), False)],
)
async def test_the_body_is_matched(look: Look, endpoint: Endpoint, body: Any, ok: bool) -> None:
    health = await look(HttpCheck(body=body), endpoint)
    assert health.ok is ok
    assert ok or health.reason == "the body of /health is not as expected"


async def test_a_server_that_hangs_has_failed_after_the_timeout(
    look: Look, endpoint: Endpoint, server: SimulatedServer
) -> None:
    server.fail(faults.Hang(), "gpu-1", on="probes")
    health = await look(HttpCheck(timeout=0.1), endpoint)
    assert (health.ok, health.reason) == (False, "no answer in time")
    assert 0.09 < health.seconds < 1


async def test_a_server_that_trickles_has_failed_after_the_timeout(look: Look) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            try:
                for _ in range(100):
                    client.sendall(b".")
                    time.sleep(0.02)
            except OSError:
                pass

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    check = HttpCheck(timeout=0.2)
    health = await look(check, Endpoint("x", url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    check.close()
    listener.close()
    await asyncio.to_thread(thread.join)
    assert (health.ok, health.reason) == (False, "no answer in time")
    assert health.seconds < 0.5


async def test_nobody_there_is_a_failure_in_words(look: Look) -> None:
    endpoint = Endpoint("x", url=f"http://127.0.0.1:{closed_port()}")
    health = await look(HttpCheck(), endpoint)
    assert not health.ok
    assert "refused" in health.reason or "failed" in health.reason
    assert not (await look(HttpCheck(), Endpoint("x", url="http://[nonsense"))).ok


async def test_what_is_asked(look: Look) -> None:
    with respx.mock:
        route = respx.request("HEAD", "http://gpu-9:8000/alive").mock(httpx.Response(204))
        check = HttpCheck("/alive", method="HEAD", headers={"Authorization": "Bearer secret"}, status={204})
        assert (await look(check, Endpoint("x", url="http://gpu-9:8000/v1/"))).ok
        assert route.calls.last.request.headers["authorization"] == "Bearer secret"
    assert "secret" not in repr(check)
    assert repr(check) == "HttpCheck('/alive', timeout=1)"


async def test_redirects_are_not_followed(look: Look) -> None:
    with respx.mock:
        respx.get("http://gpu-9/health").mock(httpx.Response(302, headers={"location": "http://login/"}))
        health = await look(HttpCheck(), Endpoint("x", url="http://gpu-9"))
    assert health.reason == "/health answered 302"


async def test_an_endpoint_without_an_address_is_not_checked(look: Look) -> None:
    for check in (HttpCheck(), TcpCheck(), vllm()):
        health = await look(check, Endpoint("x", ScriptedModel("hi")))
        assert health == Health(True, "not checked: it has no url, and its model tells none")


def test_the_address_is_the_url_or_the_models() -> None:
    model = ChatOpenAI(base_url="http://10.0.0.1:8000/v1", model="m", api_key="-")
    assert base_of(Endpoint("x", model)) == "http://10.0.0.1:8000"
    assert base_of(Endpoint("x", model.bind(stop=["."]))) == "http://10.0.0.1:8000"
    assert base_of(Endpoint("x", model, url="http://10.0.0.2/gpu-1/v1/")) == "http://10.0.0.2/gpu-1"
    assert base_of(Endpoint("x", url="10.0.0.2:8000")) is None
    assert host_of(Endpoint("x", model)) == ("10.0.0.1", 8000)
    assert host_of(Endpoint("x", url="https://api.test/v1")) == ("api.test", 443)
    assert host_of(Endpoint("x", url="10.0.0.2:6379")) == ("10.0.0.2", 6379)
    assert host_of(Endpoint("x", url="http://10.0.0.2:port")) is None
    assert host_of(Endpoint("x")) is None


@pytest.mark.parametrize("wrong", [{"path": "health"}, {"timeout": 0}, {"timeout": "1s"}, {"timeout": True}])
def test_an_http_check_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="HttpCheck"):
        HttpCheck(**wrong)


def test_a_connection_is_kept_for_the_next_check_and_closed_at_the_end(quiet: SimulatedServer) -> None:
    check, endpoint = HttpCheck(), Endpoint("x", url=quiet.url)
    for _ in range(5):
        assert check.check(endpoint).ok
    assert quiet.connections == 1
    check.close()
    assert quiet.wait_until(lambda: quiet.connections == 0)
    assert check.check(endpoint).ok  # and it opens again for whoever asks
    check.close()


def test_the_client_of_an_endpoint_that_is_not_asked_any_more_is_closed(
    quiet: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = HttpCheck()
    check.check(Endpoint("gone", url=f"{quiet.url}/gone"))
    monkeypatch.setattr("langchain_cluster.health.http.IDLE", 0.01)
    time.sleep(0.02)
    check.check(Endpoint("here", url=f"{quiet.url}/here"))
    assert quiet.wait_until(lambda: quiet.connections == 1)
    check.close()
    assert quiet.wait_until(lambda: quiet.connections == 0)


async def test_awaited_checks_leave_nothing_open_and_belong_to_no_loop(quiet: SimulatedServer) -> None:
    check, endpoint = HttpCheck(), Endpoint("x", url=quiet.url)
    assert (await check.acheck(endpoint)).ok
    assert (await asyncio.to_thread(lambda: asyncio.run(check.acheck(endpoint)))).ok
    assert await asyncio.to_thread(quiet.wait_until, lambda: quiet.connections == 0)


# -- TCP --------------------------------------------------------------------------------------------


async def test_an_open_port_is_healthy_and_a_closed_one_is_not(look: Look, endpoint: Endpoint) -> None:
    assert (await look(TcpCheck(), endpoint)).ok
    health = await look(TcpCheck(), Endpoint("x", url=f"tcp://127.0.0.1:{closed_port()}"))
    assert not health.ok
    assert "refused" in health.reason or "failed" in health.reason


def sockets() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def test_a_tcp_check_leaves_no_socket(look: Look, endpoint: Endpoint) -> None:
    before = sockets()
    for _ in range(20):
        await look(TcpCheck(), endpoint)
    for _ in range(500):  # the server is in this process too, and takes a moment to see who has gone
        if sockets() <= before + 5:
            break
        await asyncio.sleep(0.02)
    assert sockets() <= before + 5


# -- the model --------------------------------------------------------------------------------------


def openai(server: SimulatedServer, name: str) -> Endpoint:
    return Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-", max_retries=0))


async def test_a_model_check_asks_for_one_token_and_holds_for_a_while(
    look: Look, server: SimulatedServer
) -> None:
    server.clear_log()
    check, endpoint = ModelCheck(every=60.0), openai(server, "m1")
    assert (await look(check, endpoint)).reason == "the model answered"
    assert (await look(check, endpoint)).ok
    (seen,) = server.seen("m1")
    assert seen.body["max_tokens" if "max_tokens" in seen.body else "max_completion_tokens"] == 1


async def test_a_model_that_fails_is_a_failure_and_a_throttled_one_lives(
    look: Look, server: SimulatedServer
) -> None:
    server.fail(faults.Status(500), "m2")
    server.fail(faults.RateLimited(1.0), "m3")
    health = await look(ModelCheck(), openai(server, "m2"))
    assert not health.ok
    assert "500" in health.reason
    assert (await look(ModelCheck(), openai(server, "m3"))).reason == "the model is throttled"
    assert (await look(ModelCheck(), Endpoint("none"))).reason == "not checked: it has no model"
    server.heal()


async def test_only_one_asks_at_a_time_and_the_others_go_by_what_was_seen(
    look: Look, server: SimulatedServer
) -> None:
    turn = Lock()
    check = ModelCheck(timeout=0.5, every=0.001, prober=turn)
    endpoint = openai(server, "m4")
    with turn:
        assert (await look(check, endpoint)).reason == "not checked: another check has the turn"
    assert (await look(check, endpoint)).reason == "the model answered"
    with turn:
        assert (await look(check, endpoint)).reason == "the model answered"
    assert not turn.locked()


async def test_a_model_that_answers_too_late_has_failed_until_it_is_asked_again(look: Look) -> None:
    model = ScriptedModel("at last", delay=0.3)
    check, endpoint = ModelCheck(timeout=0.05, every=300.0, prober=Lock()), Endpoint("slow", model)
    for _ in range(2):
        assert not (await look(check, endpoint)).ok
    assert model.calls == 1


async def test_many_at_once_make_one_call(look: Look, server: SimulatedServer) -> None:
    server.clear_log()
    check, endpoint = ModelCheck(prober=Lock()), openai(server, "m5")
    found = await asyncio.gather(*(look(check, endpoint) for _ in range(8)))
    assert all(health.ok for health in found)
    assert server.count("m5") == 1


# -- composites -------------------------------------------------------------------------------------


class Fixed:
    timeout = 0.5

    def __init__(self, finding: Any, load: Load | None = None) -> None:
        self.finding, self.load, self.asked, self.closed = finding, load, 0, False

    def check(self, endpoint: Endpoint) -> Health:
        self.asked += 1
        if isinstance(self.finding, Exception):
            raise self.finding
        return Health(self.finding, "good" if self.finding else "bad", self.load, 0.1)

    async def acheck(self, endpoint: Endpoint) -> Health:
        return self.check(endpoint)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("need", "findings", "ok", "asked"),
    [
        (3, [True, True, True], True, 3),
        (3, [True, False, True], False, 2),
        (1, [False, True, True], True, 2),
        (1, [False, False, False], False, 3),
        (2, [True, True, False], True, 2),
        (2, [False, True, False], False, 3),
        (2, [False, False, True], False, 2),
        (2, [ValueError("x"), True, True], True, 3),
    ],
)
async def test_a_quorum_asks_no_more_than_it_needs(
    look: Look, need: int, findings: list[Any], ok: bool, asked: int
) -> None:
    parts = [Fixed(finding) for finding in findings]
    health = await look(Quorum(need, *parts), Endpoint("x"))
    assert health.ok is ok
    assert sum(part.asked for part in parts) == asked


async def test_all_and_any_are_quorums_and_tell_why(look: Look) -> None:
    good, bad, loaded = Fixed(True), Fixed(False), Fixed(True, Load(queued=4))
    assert await look(All(good, bad), Endpoint("x")) == Health(False, "bad", None, 0.2)
    assert await look(AnyOf(bad, loaded), Endpoint("x")) == Health(True, "good", Load(queued=4), 0.2)
    health = await look(AnyOf(bad, Fixed(ValueError("no"))), Endpoint("x"))
    assert health.reason == "bad; ValueError: no"
    check = All(good, AnyOf(bad, loaded))
    assert check.timeout == 1.5
    check.close()
    assert good.closed
    assert loaded.closed
    assert repr(All(TcpCheck(), HttpCheck())) == "All(TcpCheck(timeout=1), HttpCheck('/health', timeout=1))"


@pytest.mark.parametrize("wrong", [(0, Fixed(True)), (2, Fixed(True)), (1, "tcp"), (1,)])
def test_a_quorum_that_cannot_be_met_is_refused(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError):
        Quorum(*wrong)


# -- names ------------------------------------------------------------------------------------------


def test_a_check_may_be_named() -> None:
    assert isinstance(Periodic("tcp").check, TcpCheck)
    assert repr(Periodic("vllm")) == "<Periodic vllm(timeout=1) every 2.5 s, rise 2, fall 3>"
    for name in ("http", "tcp", "model", "vllm", "sglang", "llama_cpp", "ollama", "tgi"):
        assert isinstance(Periodic(name).check, HealthCheck)
    with pytest.raises(PluginError, match="vllm"):
        Periodic("vlm")
    with pytest.raises(ConfigError, match="no HealthCheck"):
        Periodic(42)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no HealthCheck"):
        Periodic(HttpCheck)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no HealthCheck"):
        All(TcpCheck(), HttpCheck)  # type: ignore[arg-type]
