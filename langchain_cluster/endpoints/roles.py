"""Each endpoint is asked by who knows its kind of model: chat, embeddings or retrieval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import RunnableBinding

from langchain_cluster.endpoints.caller import ModelCaller
from langchain_cluster.endpoints.embedding import EmbeddingCaller
from langchain_cluster.endpoints.resumed import Prefilled, Resumed
from langchain_cluster.endpoints.retrieval import RetrievalCaller
from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.model.call import Attempt, Outcome, Resume
from langchain_cluster.model.endpoint import Endpoint, Role

_LLM_ONLY = frozenset({Role.LLM})


class Callers:
    """A `Caller` for pools whose endpoints have any role.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.chat = ModelCaller(now)
        self.embedding = EmbeddingCaller(now)
        self.retrieval = RetrievalCaller(now)
        self._by_role: dict[Role, ModelCaller | EmbeddingCaller | RetrievalCaller] = {
            Role.LLM: self.chat,
            Role.EMBEDDING: self.embedding,
            Role.RETRIEVAL: self.retrieval,
        }

    def check(self, endpoint: Endpoint) -> None:
        """Raises ConfigError when the endpoint's model cannot be asked for what its roles say."""
        for role in endpoint.roles:
            if role in self._by_role:
                self._by_role[role].adapter(endpoint)

    def forget(self, id: str) -> None:
        """The endpoint has left the pool."""
        for caller in self._by_role.values():
            caller.forget(id)

    def call(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """Ask and wait for the whole answer; never raises an `Exception`."""
        return self._by_role[attempt.request.role].call(attempt, headers)

    async def acall(self, attempt: Attempt, headers: Mapping[str, str]) -> Outcome:
        """The same, awaited."""
        return await self._by_role[attempt.request.role].acall(attempt, headers)

    def open(
        self, attempt: Attempt, headers: Mapping[str, str], resume: Resume | None = None
    ) -> ModelStream | Resumed | Prefilled:
        """A stream; only chat models have them."""
        return self.chat.open(attempt, headers, resume)


def serving(endpoint: Endpoint, role: Role) -> Endpoint:
    """The endpoint as a face for `role` means it, whose models need not show what they are for.

    Who says nothing of roles has the role LLM. Of a model that is no language model, as a plain
    Runnable that finds documents, that is not meant.
    """
    if endpoint.roles != _LLM_ONLY or role is Role.LLM or endpoint.model is None:
        return endpoint
    model: Any = endpoint.model
    while isinstance(model, RunnableBinding):
        model = model.bound
    if isinstance(model, BaseLanguageModel):
        return endpoint
    return replace(endpoint, roles=frozenset({role}))
