"""`ClusterMiddleware`: the model calls of a LangChain agent, answered by a cluster under the agent's policy.

An agent that is given the cluster as its model needs none of this: `create_agent(model=llm, name="planner")`
finds the policy named "planner" by itself. This is for agents whose model is chosen elsewhere, and for
policies that belong to the agent and not to the cluster.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from langchain_cluster.cluster import Cluster
from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse

    from langchain_cluster.llm import ClusteredLLM
else:
    AgentMiddleware = need(
        "langchain.agents.middleware", extra="agents", for_="ClusterMiddleware"
    ).AgentMiddleware


class ClusterMiddleware(AgentMiddleware[Any, Any, Any]):
    """Hands every model call of an agent to a cluster.

    Args:
        llm: who answers, instead of the agent's own model.
        agent: under whose name; the agent's own, as LangChain reports it, if None.
        **overrides: what differs from that agent's policy (`attempts=1`, `timeout=5.0`, ...).

    Raises:
        ConfigError: `llm` is no ClusteredLLM, overrides without a name, or an override that is not valid.
    """

    def __init__(self, llm: ClusteredLLM, agent: str | None = None, **overrides: Any) -> None:
        super().__init__()
        if not isinstance(getattr(llm, "cluster", None), Cluster):
            raise ConfigError(f"a {type(llm).__name__} is not a ClusteredLLM", key="ClusterMiddleware.llm")
        if agent is None and overrides:
            raise ConfigError("overrides need the name of an agent", key="ClusterMiddleware.agent")
        self.llm = llm if agent is None else llm.for_agent(agent, **overrides)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """The same call, asked of the cluster."""
        return handler(request.override(model=self.llm))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """The same call, asked of the cluster and awaited."""
        return await handler(request.override(model=self.llm))
