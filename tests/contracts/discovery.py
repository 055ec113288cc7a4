"""What every discovery does, in both colours. Inherit, and give a fixture `registry`.

Time stands still: a source that waits is ended by a change, by `elapse`, or by `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import Any, Protocol

import pytest

from langchain_cluster.errors import DiscoveryError
from langchain_cluster.model.endpoint import Endpoint, Roster
from langchain_cluster.ports import Discovery

LONG = 20.0  # seconds until a test that hangs has failed; nothing waits for it


class Registry(Protocol):
    """A stand-in for what a source reads."""

    source: Any
    wait: float  # seconds the source waits for a change, by the registry's clock

    def put(self, endpoints: Mapping[str, float]) -> None:
        """From now on these are there, by id, with these weights."""


class WatchedRegistry(Registry, Protocol):
    """One that can be waited for."""

    def until_waited_for(self) -> None:
        """Return when a fetch waits for a change."""

    def elapse(self, seconds: float) -> None:
        """Let time pass."""

    def down(self) -> None:
        """Answer with errors."""

    def up(self) -> None:
        """Answer again."""


class Fetching:
    """A fetch under way on a thread, blocking or in an event loop of its own."""

    def __init__(self, source: Discovery, after: int | None, colour: str) -> None:
        self._source, self._after, self._colour = source, after, colour
        self._roster: Roster | None = None
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._colour == "sync":
                self._roster = self._source.fetch(self._after)
            else:
                self._roster = asyncio.run(self._afetch())
        except Exception as error:
            self._error = error

    async def _afetch(self) -> Roster:
        return await self._source.afetch(self._after)

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def roster(self) -> Roster:
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "it still waits"
        if self._error is not None:
            raise self._error
        assert self._roster is not None
        return self._roster


def weights(roster: Roster) -> dict[str, float]:
    return {endpoint.id: endpoint.weight for endpoint in roster.endpoints}


class DiscoveryContract:
    """For every source."""

    @pytest.fixture
    def registry(self) -> Iterator[Any]:
        raise NotImplementedError

    @pytest.fixture(params=["sync", "async"])
    def colour(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_it_is_a_discovery(self, registry: Registry) -> None:
        assert isinstance(registry.source, Discovery)

    def test_a_roster_is_the_whole_set(self, registry: Registry, colour: str) -> None:
        registry.put({"b": 2.0, "a": 1.0})
        roster = Fetching(registry.source, None, colour).roster()
        assert weights(roster) == {"a": 1.0, "b": 2.0}
        registry.put({"b": 2.0})
        later = Fetching(registry.source, roster.revision, colour).roster()
        assert weights(later) == {"b": 2.0}
        assert later.revision != roster.revision

    def test_nobody_is_a_roster_too(self, registry: Registry, colour: str) -> None:
        registry.put({})
        assert Fetching(registry.source, None, colour).roster().endpoints == ()

    def test_the_same_endpoints_have_the_same_revision(self, registry: Registry, colour: str) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        assert Fetching(registry.source, None, colour).roster() == first

    def test_a_repr_tells_how_many_there_are(self, registry: Registry) -> None:
        registry.put({"a": 1.0, "b": 1.0})
        registry.source.fetch(None)
        assert "2 endpoints" in repr(registry.source)

    def test_an_endpoint_has_no_model(self, registry: Registry) -> None:
        registry.put({"a": 1.0})
        (endpoint,) = registry.source.fetch(None).endpoints
        assert isinstance(endpoint, Endpoint)
        assert endpoint.model is None


class WatchedContract(DiscoveryContract):
    """For sources that wait for a change."""

    def test_a_change_ends_the_wait(self, registry: WatchedRegistry, colour: str) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        fetching = Fetching(registry.source, first.revision, colour)
        registry.until_waited_for()
        assert fetching.waits
        registry.put({"a": 3.0})
        assert weights(fetching.roster()) == {"a": 3.0}

    def test_without_a_change_it_returns_after_its_wait(self, registry: WatchedRegistry, colour: str) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        fetching = Fetching(registry.source, first.revision, colour)
        registry.until_waited_for()
        registry.elapse(registry.wait)
        assert fetching.roster() == first

    def test_a_revision_it_does_not_know_is_answered_at_once(
        self, registry: WatchedRegistry, colour: str
    ) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        assert Fetching(registry.source, first.revision + 7, colour).roster() == first

    def test_an_error_is_an_exception_and_the_next_fetch_is_well(
        self, registry: WatchedRegistry, colour: str
    ) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        registry.down()
        with pytest.raises(DiscoveryError):
            Fetching(registry.source, first.revision, colour).roster()
        registry.up()
        registry.put({"a": 1.0, "b": 1.0})
        assert weights(Fetching(registry.source, first.revision, colour).roster()) == {"a": 1.0, "b": 1.0}

    def test_a_registry_that_breaks_while_it_is_waited_for_is_an_exception(
        self, registry: WatchedRegistry, colour: str
    ) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        fetching = Fetching(registry.source, first.revision, colour)
        registry.until_waited_for()
        registry.down()
        with pytest.raises(DiscoveryError):
            fetching.roster()

    def test_closing_ends_the_wait_and_a_later_fetch_begins_anew(
        self, registry: WatchedRegistry, colour: str
    ) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        fetching = Fetching(registry.source, first.revision, colour)
        registry.until_waited_for()
        registry.source.close()
        with pytest.raises(DiscoveryError, match="closed"):
            fetching.roster()
        registry.put({"b": 1.0})
        assert weights(Fetching(registry.source, first.revision, colour).roster()) == {"b": 1.0}

    async def test_a_cancelled_fetch_is_cancelled(self, registry: WatchedRegistry) -> None:
        registry.put({"a": 1.0})
        first = await registry.source.afetch(None)
        fetching = asyncio.create_task(registry.source.afetch(first.revision))
        await asyncio.to_thread(registry.until_waited_for)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    def test_two_may_watch_it(self, registry: WatchedRegistry, colour: str) -> None:
        registry.put({"a": 1.0})
        first = Fetching(registry.source, None, colour).roster()
        one = Fetching(registry.source, first.revision, colour)
        other = Fetching(registry.source, first.revision, colour)
        registry.until_waited_for()
        registry.put({"b": 1.0})
        assert weights(one.roster()) == weights(other.roster()) == {"b": 1.0}
