"""A cluster, its admin app, and clients that come from here and from elsewhere."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("starlette")

from langchain_core.messages import AIMessage
from starlette.testclient import TestClient

from langchain_cluster import Endpoint
from langchain_cluster.admin import TOKEN_ENV, Rules, create_app
from langchain_cluster.cache import MemoryCache
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.endpoint import Price
from langchain_cluster.testing import ScriptedModel

TOKEN = "correct-horse-battery-staple-0123456789"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_ENV, TOKEN)


@pytest.fixture
def llm() -> Iterator[ClusteredLLM]:
    endpoints = [
        Endpoint(
            "a",
            model=ScriptedModel(*[FOX] * 20),
            price=Price(1.0, 1.0),
            url="http://u:hush@10.0.0.1/v1?key=hush",
        ),
        Endpoint("b", model=ScriptedModel("owl"), priority=1),
    ]
    made = ClusteredLLM(endpoints, cache=MemoryCache(), seed=1)
    with made.cluster:
        yield made


FOX = AIMessage("fox", usage_metadata={"input_tokens": 7, "output_tokens": 3, "total_tokens": 10})


Here = Callable[..., TestClient]


@pytest.fixture
def here(llm: ClusteredLLM) -> Here:
    """A client on this machine; `client` is its address, the rest is for `create_app`."""

    def made(*, client: str = "127.0.0.1", host: str = "127.0.0.1", **more: Any) -> TestClient:
        app = create_app(llm, **more)
        return TestClient(app, base_url=f"http://{host}:9465", client=(client, 50_000))

    return made


@contextmanager
def served(app: Any) -> Iterator[int]:
    """The app behind a real server on a free loopback port."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        config = uvicorn.Config(app, log_level="critical", proxy_headers=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port(llm: ClusteredLLM) -> Iterator[int]:
    rules = Rules(body_seconds=0.2, every=0.05, streams=4, reads_per_minute=1e6, stall_seconds=1.0)
    with served(create_app(llm, rules=rules)) as port:
        yield port
