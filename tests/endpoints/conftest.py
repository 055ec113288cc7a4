"""A server whose endpoints speak OpenAI and Anthropic, and models of them that never retry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langchain_cluster.testing import SimulatedServer
from tests.endpoints.asking import Asking


def remembered(make: Callable[..., Any]) -> Callable[..., Any]:
    once = cache(make)
    return lambda *names, **fields: make(*names, **fields) if fields else once(*names)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def server(shared_server: SimulatedServer) -> Iterator[SimulatedServer]:
    shared_server.heal()
    shared_server.clear_log()
    yield shared_server
    shared_server.heal()


@pytest.fixture(scope="session")
def openai(shared_server: SimulatedServer) -> Callable[..., ChatOpenAI]:
    """Makes a ChatOpenAI of an endpoint; a plain one only once, since making one costs more than a call."""

    @remembered
    def model(endpoint: str = "gpu-1", **fields: Any) -> ChatOpenAI:
        return ChatOpenAI(
            **{"base_url": shared_server.openai_url(endpoint), "model": "m", "api_key": "-", **fields}
        )

    return model


@pytest.fixture(scope="session")
def anthropic(shared_server: SimulatedServer) -> Callable[..., ChatAnthropic]:
    """Makes a ChatAnthropic of an endpoint."""

    @remembered
    def model(endpoint: str = "gpu-1", **fields: Any) -> ChatAnthropic:
        url = shared_server.anthropic_url(endpoint)
        return ChatAnthropic(**{"base_url": url, "model": "m", "api_key": "-", "max_tokens": 1000, **fields})

    return model


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for everything awaited: an SDK's client belongs to the loop it was first used on."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(request: pytest.FixtureRequest, provider: str) -> Callable[..., Any]:
    """Makes a model of an endpoint, of one provider and then of the other."""
    made: Callable[..., Any] = request.getfixturevalue(provider)
    return made


@pytest.fixture
def asking(server: SimulatedServer, runner: asyncio.Runner) -> Callable[..., Asking]:
    return lambda model, **fields: Asking(model, runner, **fields)
