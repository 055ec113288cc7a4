"""A roster that is written down in the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint, Roster


class StaticDiscovery:
    """Endpoints that never change by themselves; `update` changes them.

    `fetch` returns at once: there is nothing to wait for.

    Args:
        endpoints: the roster.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._roster = Roster(tuple(endpoints), 1)
        self._lock = Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the roster. Clusters that run have taken it when this returns, whoever leaves by it.

        Raises:
            ConfigError: something in it is no endpoint.
        """
        roster = tuple(endpoints)
        for place, endpoint in enumerate(roster):
            if not isinstance(endpoint, Endpoint):
                kind = type(endpoint).__name__
                raise ConfigError(f"{kind} is not an Endpoint(id, model)", key=f"endpoints[{place}]")
        with self._lock:
            self._roster = Roster(roster, self._roster.revision + 1)
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every `update`; the result unsubscribes it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def fetch(self, after: int | None = None) -> Roster:
        """The roster, whatever `after` is."""
        return self._roster

    async def afetch(self, after: int | None = None) -> Roster:
        """The roster, whatever `after` is."""
        return self._roster

    def __repr__(self) -> str:
        return f"StaticDiscovery({len(self._roster.endpoints)} endpoints)"
