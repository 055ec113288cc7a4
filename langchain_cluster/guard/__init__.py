"""May we? State machines that never sleep, log or read the clock: they are told the time."""

from langchain_cluster.guard.breaker import BreakerState, CircuitBreaker, Permit
from langchain_cluster.guard.budget import RetryBudget
from langchain_cluster.guard.window import CountWindow, Window

__all__ = ["BreakerState", "CircuitBreaker", "CountWindow", "Permit", "RetryBudget", "Window"]
