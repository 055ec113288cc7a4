"""Endpoints' models made ready to be asked: each once, and anew when the model or its parameters changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from langchain_cluster.model.endpoint import Endpoint


class Ready(Protocol):
    """A model made ready."""

    def stale(self, endpoint: Endpoint) -> bool:
        """Whether it has to be made ready anew."""


A = TypeVar("A", bound=Ready)


class Adapting(Generic[A]):
    """A caller that keeps what it has made ready.

    Args:
        now: the clock. make: makes an endpoint's model ready.
    """

    def __init__(self, now: Callable[[], float], make: Callable[[Endpoint], A]) -> None:
        self._now, self._make = now, make
        self._adapters: dict[str, A] = {}

    def adapter(self, endpoint: Endpoint) -> A:
        """The endpoint's model made ready.

        Raises:
            ConfigError: it is no model of the kind that is asked for here.
        """
        adapter = self._adapters.get(endpoint.id)
        if adapter is None or adapter.stale(endpoint):
            adapter = self._adapters[endpoint.id] = self._make(endpoint)
        return adapter

    def forget(self, id: str) -> None:
        """The endpoint has left the pool."""
        self._adapters.pop(id, None)
