"""What a cluster does with the rosters of its sources."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, current_thread, get_ident
from typing import Any

from langchain_cluster import Cluster, Endpoint, Load, Roster
from langchain_cluster.model.endpoint import Rejected
from langchain_cluster.model.events import EndpointRejected
from langchain_cluster.testing import ScriptedModel

A = Endpoint("a", ScriptedModel("hello"))


class Source:
    """Says one roster after the other as it is told to, and waits after the last until it is closed."""

    def __init__(self, *rosters: Roster) -> None:
        self._rosters = [replace(roster, revision=n) for n, roster in enumerate(rosters)]
        self.asked, self.closed, self.waits = 0, Event(), Event()

    def fetch(self, after: int | None) -> Roster:
        self.asked += 1
        self._thread = current_thread()
        if self._rosters:
            return self._rosters.pop(0)
        self.waits.set()
        self.closed.wait()
        raise OSError("closed")

    async def afetch(self, after: int | None) -> Roster:
        raise NotImplementedError

    def close(self) -> None:
        """Whoever watched ends by that alone: it was told to before."""
        self.closed.set()
        self._thread.join(5)


def follow(*rosters: Roster) -> tuple[list[Any], Cluster, Source]:
    """A cluster that has heard all of them and is closed again."""
    source = Source(*rosters)
    events: list[Any] = []
    cluster = Cluster(discovery=source)
    cluster.events.subscribe(events.append)
    with cluster:
        assert source.waits.wait(20)
    return events, cluster, source


def test_closing_ends_a_source_that_waits_and_does_not_ask_it_again() -> None:
    _, _, source = follow(Roster((A,)))
    assert source.closed.is_set()
    assert source.asked == 2


def test_an_entry_that_is_left_out_is_told_once_while_the_source_says_the_same() -> None:
    bad, worse = Rejected("x", "port 0"), Rejected("x", "port 70000")
    events, cluster, _ = follow(
        Roster((A,), rejected=(bad,)),
        Roster((), rejected=(bad,)),
        Roster((A,), rejected=(worse,)),
        Roster((A,)),
        Roster((A,), rejected=(bad,)),
    )
    told = [event.reason for event in events if isinstance(event, EndpointRejected)]
    assert told == ["port 0", "port 70000", "port 0"]
    assert [member.endpoint.id for member in cluster.pool] == ["a"]


def test_a_load_that_a_source_tells_reaches_the_pool() -> None:
    _, cluster, _ = follow(Roster((A,), loads={"a": Load(queued=3), "gone": Load(queued=1)}))
    assert [member.load for member in cluster.pool] == [Load(queued=3)]


def test_a_listener_may_take_an_endpoint_out_before_its_load_is_heard() -> None:
    source = Source(Roster((A,), loads={"a": Load(queued=3)}))
    cluster = Cluster(discovery=source)

    def take_out(event: object) -> None:
        if cluster.pool.get("a") is not None:
            cluster.pool.remove("a")

    cluster.events.subscribe(take_out)
    with cluster:
        assert source.waits.wait(20)
        assert source.asked == 2  # the roster was taken, not asked for again


def test_each_source_is_followed_on_a_thread_of_its_own() -> None:
    threads = set()

    class Noting(Source):
        def fetch(self, after: int | None) -> Roster:
            threads.add(get_ident())
            return super().fetch(after)

    sources = [Noting(Roster((A,))), Noting(Roster((Endpoint("b", ScriptedModel("hi")),)))]
    with Cluster(discovery=sources) as cluster:
        assert all(source.waits.wait(20) for source in sources)
        assert {member.endpoint.id for member in cluster.pool} == {"a", "b"}
    assert len(threads) == 2
    assert get_ident() not in threads
