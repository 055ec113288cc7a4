"""Is a candidate near enough to answer? By a threshold that is given, or by what was learned."""

from langchain_cluster.cache.semantic.policy.fixed import Fixed
from langchain_cluster.cache.semantic.policy.learned import Learned
from langchain_cluster.cache.semantic.policy.seam import ServePolicy

__all__ = ["Fixed", "Learned", "ServePolicy"]
