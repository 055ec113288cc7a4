"""`ClusteredRetriever`: a LangChain retriever that is a whole pool of them.

A thin face, like that of chats: one run, one call under the plan, whoever of the endpoints answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, ensure_config
from pydantic import ConfigDict, Field, ValidationError

from langchain_cluster.cluster import Cluster
from langchain_cluster.endpoints.fingerprint import digest_of
from langchain_cluster.endpoints.retrieval import Query
from langchain_cluster.endpoints.settings import SCOPE, CallSettings
from langchain_cluster.faces import a_cluster, a_policy, a_request, policy_of_agent, settings_for
from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.policy import Policy
from langchain_cluster.model.strict import explain


class ClusteredRetriever(BaseRetriever):
    """A retriever over many endpoints.

    Args:
        endpoints: who can answer; their models are retrievers, or Runnables from a text to documents.
        cluster: a running cluster to share, instead of endpoints: its pool, breakers, cache and events.
        policy: what a call may cost in tries and time.
        cache: a `CacheStore`, True for a `MemoryCache()`, None or False for none.
        arguments: given to endpoints with every call, where they take any (`{"k": 4}`).
        timeout: seconds; short for `policy.timeout`. max_retries: short for `policy.attempts - 1`.
        agent: whose view this is; see `for_agent`.
        **options: `balancer`, `discovery`, `agents`, `breaker`, `outlier`, `slow_start`, `health`,
            `drain_timeout`, `clock`, `seed`, `tracing` of `Cluster`, and what every retriever takes
            (`tags`, `metadata`, `name`).

    Raises:
        ConfigError: something given is not valid, or nobody retrieves.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())

    cluster: Any = Field(default=None, exclude=True, repr=False)
    """The running `Cluster`; shared by every copy and view of this retriever."""
    policy: Policy | None = Field(default=None, exclude=True)
    agent: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        *,
        cluster: Cluster | None = None,
        policy: Policy | Mapping[str, Any] | None = None,
        cache: Any = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> None:
        own = a_policy(policy, timeout, max_retries)
        fields = {name: options.pop(name) for name in list(options) if name in type(self).model_fields}
        shared = cluster is not None
        cluster = a_cluster(type(self).__name__, Role.RETRIEVAL, endpoints, cluster, own, cache, options)
        try:
            # A new cluster's policy is the cluster's: the agents' come before it.
            super().__init__(cluster=cluster, policy=own if shared else None, **fields)
        except ValidationError as error:
            raise explain(error, type(self)) from None

    def for_agent(self, agent: str, **overrides: Any) -> Self:
        """A light view for one agent: the same pool, its own name, and its policy with `overrides`."""
        policy = policy_of_agent(self.cluster, agent, self.policy, overrides)
        return self.model_copy(update={"agent": agent, "policy": policy})

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """The documents that fit a query. See `BaseRetriever.invoke`."""
        config = ensure_config(config)
        return super().invoke(input, config, **{SCOPE: settings_for(config, {}), **kwargs})

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """The same, awaited. See `BaseRetriever.ainvoke`."""
        config = ensure_config(config)
        return await super().ainvoke(input, config, **{SCOPE: settings_for(config, {}), **kwargs})

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        request, policy = self._request(query, run_manager, kwargs)
        found: list[Document] = self.cluster.complete(request, policy).value
        return found

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        request, policy = self._request(query, run_manager, kwargs)
        answer = await self.cluster.acomplete(request, policy)
        found: list[Document] = answer.value
        return found

    def _request(self, query: str, run: Any, kwargs: dict[str, Any]) -> tuple[Request, Policy]:
        settings: CallSettings = kwargs.pop(SCOPE, None) or settings_for(None, {})
        agent = self.agent or settings.agent
        policy = settings.over(self.policy or self.cluster.policy_for(agent))
        arguments = {**self.arguments, **{name: kwargs[name] for name in kwargs if name != "verbose"}}
        digest = None
        if self.cluster.keys is not None and policy.cache is not False:
            digest = digest_of("retrieval", settings.tenant, query, arguments)
        return a_request(Role.RETRIEVAL, Query(query, arguments, run), settings, agent, digest), policy

    def __reduce__(self) -> Any:
        raise TypeError("a ClusteredRetriever holds live connections and cannot be pickled")

    def __repr__(self) -> str:
        ids = [m.endpoint.id for m in self.cluster.pool if Role.RETRIEVAL in m.endpoint.roles]
        shown = ", ".join(ids[:5]) + (f", and {len(ids) - 5} more" if len(ids) > 5 else "")
        agent = f", agent={self.agent!r}" if self.agent else ""
        return f"ClusteredRetriever([{shown}], balancer={self.cluster.pool.balancer.name!r}{agent})"

    __str__ = __repr__
