"""LangChain's standard integration suite: whatever pool answers, a cluster is a chat model like any other.

Every class here passes what a bare ChatOpenAI passes against the same server (see
tests/testing/test_simulated_standard.py), and no standard parameter is overridden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import SimulatedServer, faults
from tests.standard.pools import anthropic, openai


class Standard(ChatModelIntegrationTests):
    """The suite against one pool; subclasses say which."""

    server: ClassVar[SimulatedServer]
    endpoints: ClassVar[list[Endpoint]]

    @classmethod
    def pool(cls, server: SimulatedServer) -> list[Endpoint]:
        return [openai(server, f"gpu-{number}") for number in range(1, 4)]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def simulated(cls) -> Iterator[SimulatedServer]:
        with SimulatedServer() as server:
            cls.server = server
            cls.endpoints = cls.pool(server)
            yield server
            cls.all_did_their_part(server)

    @classmethod
    def all_did_their_part(cls, server: SimulatedServer) -> None:
        """That the pool was the one the class is about."""
        for endpoint in cls.endpoints:
            assert server.count(endpoint.id) > 0, f"{endpoint.id} was never asked"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ClusteredLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"endpoints": self.endpoints}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another"


class TestHealthyPool(Standard):
    """Three endpoints, all well."""


class TestJsonSchema(Standard):
    """Structured output by the provider's own means."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class TestHalfThePoolFails(Standard):
    """Two of four endpoints answer every call with 503."""

    @classmethod
    def pool(cls, server: SimulatedServer) -> list[Endpoint]:
        for name in ("gpu-1", "gpu-3"):
            server.fail(faults.Status(503), endpoint=name)
        return [openai(server, f"gpu-{number}") for number in range(1, 5)]


class TestMixedPool(Standard):
    """OpenAI and Anthropic endpoints in one pool: either may get any call."""

    @classmethod
    def pool(cls, server: SimulatedServer) -> list[Endpoint]:
        return [
            openai(server, "openai-1"),
            anthropic(server, "anthropic-1"),
            openai(server, "openai-2"),
            anthropic(server, "anthropic-2"),
        ]


class TestMixedPoolJsonSchema(TestMixedPool):
    """Structured output by each provider's own means."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class TestAnthropicPool(Standard):
    """Only Anthropic endpoints: what is bound in OpenAI's spelling reaches them in theirs."""

    @classmethod
    def pool(cls, server: SimulatedServer) -> list[Endpoint]:
        return [anthropic(server, "anthropic-1"), anthropic(server, "anthropic-2")]
