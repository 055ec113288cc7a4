"""One LangChain chat model over many endpoints: balanced, cached, traced, failed over.

from langchain_cluster import ClusteredLLM, Endpoint

llm = ClusteredLLM(endpoints=[Endpoint("gpu-1", model=...), Endpoint("gpu-2", model=...)])
llm.invoke("hello")
"""

from langchain_cluster.cluster import Cluster
from langchain_cluster.config.factory import EndpointFactory
from langchain_cluster.discovery import StaticDiscovery
from langchain_cluster.drive.breaker import CircuitBreaker
from langchain_cluster.drive.deadline import deadline
from langchain_cluster.embeddings import ClusteredEmbeddings
from langchain_cluster.errors import (
    BudgetExceeded,
    CircuitOpen,
    ClusterError,
    ClusterExhausted,
    ConfigError,
    DeadlineExceeded,
    DiscoveryError,
    NoEndpointAvailable,
    Overloaded,
    PluginError,
    StreamInterrupted,
)
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.budget import Budget
from langchain_cluster.model.call import Outcome, Request, Usage, Verdict
from langchain_cluster.model.endpoint import Capacity, Endpoint, EndpointStatus, Load, Price, Role, Roster
from langchain_cluster.model.filters import EndpointFilter
from langchain_cluster.model.health import HealthPolicy
from langchain_cluster.model.policy import (
    BreakerPolicy,
    ConcurrencyPolicy,
    HedgePolicy,
    OutlierPolicy,
    Policy,
    QueuePolicy,
    Quota,
    SlowStartPolicy,
    ThrottlePolicy,
)
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.pool import Pool
from langchain_cluster.retriever import ClusteredRetriever
from langchain_cluster.steps import cached

__all__ = [
    "BreakerPolicy",
    "Budget",
    "BudgetExceeded",
    "Capacity",
    "CircuitBreaker",
    "CircuitOpen",
    "Cluster",
    "ClusterError",
    "ClusterExhausted",
    "ClusteredEmbeddings",
    "ClusteredLLM",
    "ClusteredRetriever",
    "ConcurrencyPolicy",
    "ConfigError",
    "DeadlineExceeded",
    "DiscoveryError",
    "Endpoint",
    "EndpointFactory",
    "EndpointFilter",
    "EndpointStatus",
    "HealthPolicy",
    "HedgePolicy",
    "Load",
    "NoEndpointAvailable",
    "Outcome",
    "OutlierPolicy",
    "Overloaded",
    "PluginError",
    "Policy",
    "Pool",
    "Price",
    "QueuePolicy",
    "Quota",
    "Request",
    "Role",
    "Roster",
    "SlowStartPolicy",
    "StabilityPolicy",
    "StaticDiscovery",
    "StreamInterrupted",
    "ThrottlePolicy",
    "Usage",
    "Verdict",
    "cached",
    "deadline",
]
