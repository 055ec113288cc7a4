"""The faces, and a server with endpoints that speak OpenAI and Anthropic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langchain_cluster.testing import SimulatedServer
from tests.faces.faces import NAMES, Face


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all awaited faces: an SDK's client belongs to the loop it was first used on."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES, ids=lambda name: name.replace(" ", "-"))
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


@pytest.fixture(params=NAMES[:4])
def plain_face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    """Unwatched ones only, for scenarios in which time passes."""
    return Face(request.param, runner)


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
    shared_server.wait_until(lambda: shared_server.in_flight() == 0, within=5.0)


@pytest.fixture(scope="session")
def openai(shared_server: SimulatedServer) -> Callable[[str], ChatOpenAI]:
    """The model of an endpoint; made once, since making one costs more than a call."""
    made: dict[str, ChatOpenAI] = {}

    def model(endpoint: str) -> ChatOpenAI:
        if endpoint not in made:
            url = shared_server.openai_url(endpoint)
            made[endpoint] = ChatOpenAI(base_url=url, model="m", api_key="-")
        return made[endpoint]

    return model


@pytest.fixture(scope="session")
def anthropic(shared_server: SimulatedServer) -> Callable[[str], ChatAnthropic]:
    made: dict[str, ChatAnthropic] = {}

    def model(endpoint: str) -> ChatAnthropic:
        if endpoint not in made:
            url = shared_server.anthropic_url(endpoint)
            made[endpoint] = ChatAnthropic(base_url=url, model="m", api_key="-", max_tokens=1000)
        return made[endpoint]

    return model


@pytest.fixture(params=["openai", "anthropic"])
def model(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Makes the model of an endpoint, of one provider and then of the other."""
    made: Callable[[str], Any] = request.getfixturevalue(request.param)
    return made
