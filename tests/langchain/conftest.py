"""A cluster of three endpoints, and the bare ChatOpenAI it takes the place of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer

NAMES = ("gpu-1", "gpu-2", "gpu-3")


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
    shared_server.behave(reply=None)


@pytest.fixture(scope="session")
def models(shared_server: SimulatedServer) -> dict[str, Any]:
    """A model per endpoint; "bare" is one more of the first, for nobody but the test."""

    def openai(name: str) -> ChatOpenAI:
        # With an address of one's own, ChatOpenAI reports no usage in streams unless asked.
        return ChatOpenAI(base_url=shared_server.openai_url(name), model="m", api_key="-", stream_usage=True)

    made: dict[str, Any] = {name: openai(name) for name in NAMES}
    made["bare"] = openai("gpu-1")
    url = shared_server.anthropic_url("claude")
    claude: dict[str, Any] = {"base_url": url, "model": "m", "api_key": "-", "max_tokens": 1000}
    made["claude"] = ChatAnthropic(**claude)
    return made


@pytest.fixture
def endpoints(models: dict[str, Any]) -> list[Endpoint]:
    return [Endpoint(name, models[name]) for name in NAMES]


@pytest.fixture
def llm(server: SimulatedServer, endpoints: list[Endpoint]) -> Iterator[ClusteredLLM]:
    llm = ClusteredLLM(endpoints, seed=1)
    yield llm
    assert llm.cluster.in_flight == 0
    assert [member.in_flight for member in llm.cluster.pool] == [0, 0, 0]
    llm.cluster.close()


@pytest.fixture
def bare(server: SimulatedServer, models: dict[str, Any]) -> BaseChatModel:
    model: BaseChatModel = models["bare"]
    return model


@pytest.fixture(params=["cluster", "mixed cluster", "bare"])
def any_model(
    request: pytest.FixtureRequest, llm: ClusteredLLM, bare: BaseChatModel, models: dict[str, Any]
) -> BaseChatModel:
    """What every program here must work with, unchanged: a cluster of one kind, of two, and no cluster."""
    if request.param == "mixed cluster":
        both = [Endpoint("gpu-2", models["gpu-2"]), Endpoint("claude", models["claude"])]
        return ClusteredLLM(both, balancer="round_robin", seed=1)
    return llm if request.param == "cluster" else bare


@pytest.fixture
def says(server: SimulatedServer) -> Callable[[Any], None]:
    """Has every endpoint say the same."""
    return lambda reply: server.behave(reply=reply)
