"""LangChain's standard suites for embeddings and retrievers, with healthy and with failing pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_cluster import ClusteredEmbeddings, ClusteredRetriever, Endpoint
from langchain_cluster.testing import ScriptedEmbeddings, ScriptedRetriever, SimulatedServer, faults


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ClusteredEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"endpoints": [Endpoint(f"gpu-{n}", ScriptedEmbeddings()) for n in range(3)]}


class TestHealthyPool(EmbeddingsIntegrationTests):
    """Three endpoints that speak OpenAI, all well."""

    failing: ClassVar[tuple[str, ...]] = ()
    endpoints: ClassVar[list[Endpoint]]
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def simulated(cls) -> Iterator[SimulatedServer]:
        with SimulatedServer() as server:
            for name in cls.failing:
                server.fail(faults.Status(503), endpoint=name)
            cls.endpoints = [cls.endpoint(server, f"gpu-{n}") for n in range(1, 4)]
            yield server
            for name in cls.failing or ("gpu-1",):
                assert server.count(name) > 0, f"{name} was never asked"

    @staticmethod
    def endpoint(server: SimulatedServer, name: str) -> Endpoint:
        fields: Any = {"model": "m", "api_key": "-", "base_url": server.openai_url(name)}
        return Endpoint(name, OpenAIEmbeddings(check_embedding_ctx_length=False, **fields))

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ClusteredEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"endpoints": self.endpoints, "balancer": "round_robin", **self.options}


class TestOneFails(TestHealthyPool):
    """One of three answers every call with 503; lists go out text by text, and vectors are cached."""

    failing = ("gpu-2",)
    options: ClassVar[dict[str, Any]] = {"batch_size": 1, "cache": True}


class TestRetrievers(RetrieversIntegrationTests):
    """Two of three replicas fail."""

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return Replicated

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def retriever_query_example(self) -> str:
        return "anything"


class Replicated(ClusteredRetriever):
    """The suite makes retrievers from a `k` alone."""

    def __init__(self, k: int = 4, **options: Any) -> None:
        replicas = [ScriptedRetriever([f"document {n}" for n in range(10)]), *map(broken, range(2))]
        endpoints = [Endpoint(f"store-{n}", replica) for n, replica in enumerate(replicas)]
        super().__init__(endpoints, arguments={"k": k}, **options)


def broken(_: int) -> ScriptedRetriever:
    return ScriptedRetriever(ConnectionError("refused"))
