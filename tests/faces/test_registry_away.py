"""A registry that is slow or away, through every face: calls go on, and none waits for it too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, Endpoint, EndpointFactory, Roster, StabilityPolicy
from langchain_cluster.errors import DeadlineExceeded, DiscoveryError, NoEndpointAvailable
from langchain_cluster.model.events import DiscoveryFailed, RosterRestored
from langchain_cluster.testing import FakeClock, ScriptedModel, SimulatedServer
from tests.faces.faces import NAMES, Face, Heard, cluster_of

LONG = 30.0  # seconds until a test that hangs has failed
NAMED = ("a", "b", "c")


class Registry:
    """Answers once if it has anything to say; then it is away, or hangs, until it is closed."""

    def __init__(self, *endpoints: Endpoint, hangs: bool = False) -> None:
        self._endpoints, self._hangs = endpoints, hangs
        self._closed = Event()
        self.asked = 0

    def fetch(self, after: int | None) -> Roster:
        self.asked += 1
        if after is None and self._endpoints:
            return Roster(self._endpoints, 1)
        if self._hangs:
            self._closed.wait()
        raise DiscoveryError("Registry", "it is away")

    async def afetch(self, after: int | None) -> Roster:
        raise NotImplementedError

    def close(self) -> None:
        self._closed.set()


@pytest.fixture(params=NAMES[:4])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """With a loop of its own: the call is made on another thread."""
    with asyncio.Runner() as runner:
        yield Face(request.param, runner)


def scripted() -> list[Endpoint]:
    return [Endpoint(id, ScriptedModel(f"from {id}")) for id in NAMED]


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
@pytest.mark.parametrize("balancer", ["round_robin", "consistent_hash", "weighted"])
def test_routing_is_the_same_as_with_a_roster_that_is_written_down(
    face: Face, balancer: str, hangs: bool
) -> None:
    def routes(llm: ClusteredLLM) -> list[str]:
        keys: list[Any] = [{"configurable": {"cluster": {"key": f"session-{n % 7}"}}} for n in range(21)]
        asked = [cluster_of(face.ask(llm, "hello", config))["endpoint"] for config in keys]
        llm.cluster.close()
        return asked

    registry = Registry(*scripted(), hangs=hangs)
    away = ClusteredLLM(discovery=registry, balancer=balancer, seed=3)
    heard = Heard(away)
    assert away.cluster.wait_ready(LONG)
    if not hangs:
        _until(lambda: bool(heard.of(DiscoveryFailed)))
    assert routes(away) == routes(ClusteredLLM(scripted(), balancer=balancer, seed=3))
    assert registry.asked >= 1


class Call:
    """A first call on a thread of its own."""

    def __init__(self, face: Face, llm: ClusteredLLM) -> None:
        self.answer: Any = None
        self.error: Exception | None = None
        self._face, self._llm = face, llm
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self._face.ask(self._llm, "hello")
        except Exception as error:
            self.error = error

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def until_it_waits(self) -> None:
        _until(lambda: "1 wait" in repr(self._llm.cluster._followers.ready))

    def end(self) -> None:
        self._thread.join(LONG)
        assert not self.waits, "it waits for the registry"


def _until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not met():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_first_call_waits_until_its_deadline_and_no_longer(face: Face) -> None:
    clock, registry = FakeClock(), Registry(hangs=True)
    llm = ClusteredLLM(discovery=registry, timeout=5.0, clock=clock)
    call = Call(face, llm)
    call.until_it_waits()
    clock.advance(4.9)
    assert call.waits
    clock.advance(0.1)
    call.end()
    assert isinstance(call.error, DeadlineExceeded | NoEndpointAvailable)
    llm.cluster.close()


def test_a_first_call_is_answered_as_soon_as_a_slow_registry_is(face: Face) -> None:
    clock, released = FakeClock(), Event()

    class Slow(Registry):
        def fetch(self, after: int | None) -> Roster:
            released.wait(LONG)
            return super().fetch(after)

    slow = Slow(*scripted(), hangs=True)
    llm = ClusteredLLM(discovery=slow, timeout=5.0, clock=clock, balancer="round_robin")
    call = Call(face, llm)
    call.until_it_waits()
    clock.advance(4.0)
    released.set()
    call.end()
    assert call.error is None
    assert call.answer.text == "from a"
    llm.cluster.close()


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
def test_a_cold_start_answers_from_the_roster_that_was_kept(face: Face, hangs: bool, tmp_path: Path) -> None:
    pytest.importorskip("langchain_openai")
    keeps = StabilityPolicy(keep=tmp_path / "roster", patience=0.01)
    with SimulatedServer() as server:
        found = [Endpoint(id, url=server.openai_url(id)) for id in NAMED]
        options: Any = {"stability": keeps, "factory": EndpointFactory("openai:m"), "balancer": "round_robin"}
        with ClusteredLLM(discovery=Registry(*found, hangs=True), **options).cluster as before:
            assert before.wait_ready(LONG)
        registry = Registry(hangs=hangs)
        llm = ClusteredLLM(discovery=registry, timeout=LONG, **options)
        heard = Heard(llm)
        answers = [face.ask(llm, "hello") for _ in range(6)]
        assert [cluster_of(answer)["endpoint"] for answer in answers] == [*NAMED, *NAMED]
        assert len(heard.of(RosterRestored)) == 1
        face.run(llm.cluster.aclose())
