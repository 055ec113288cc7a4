"""Calls that have delivered nothing are called back from an endpoint taken out, and made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from threading import Thread
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, Endpoint, Policy, Request
from langchain_cluster.model.endpoint import Role
from langchain_cluster.model.events import AttemptEnded, CallsMigrated
from langchain_cluster.testing import SimulatedServer, faults
from tests.faces.faces import Face, Heard, at_rest, cluster_of, pair, text_of

Models = Callable[[str], Any]


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """One for each test: a blocked thread is left behind, and its going away ends that."""
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def openai(server: SimulatedServer) -> Models:
    return lambda endpoint: ChatOpenAI(base_url=server.openai_url(endpoint), model="m", api_key="-")


TAKEN_OUT: dict[str, Callable[[Any], object]] = {
    "drained": lambda pool: pool.drain("bad", migrate=True),
    "removed": lambda pool: pool.remove("bad"),
    "replaced": lambda pool: pool.replace([m.endpoint for m in pool if m.endpoint.id != "bad"]),
    "forced-open": lambda pool: pool.force_open("bad"),
}


def when_asked(server: SimulatedServer, endpoint: str, do: Callable[[], object]) -> Thread:
    """Do something on a thread of its own as soon as the endpoint is working on a call."""

    def work() -> None:
        assert server.wait_until(lambda: server.in_flight(endpoint) > 0, within=10.0)
        do()

    thread = Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("taken_out", TAKEN_OUT)
def test_a_waiting_call_is_made_elsewhere(
    taken_out: str, plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=30.0, attempts=1))
    heard = Heard(llm)
    thread = when_asked(server, "bad", lambda: TAKEN_OUT[taken_out](llm.cluster.pool))
    message = plain_face.ask(llm, "hello")
    thread.join()
    assert text_of(message) == "good says: hello"
    assert cluster_of(message)["attempts"] == 2, "and one attempt is what the policy allows: moving is none"
    assert [(e.endpoint, e.calls) for e in heard.of(CallsMigrated)] == [("bad", 1)]
    assert heard.verdicts == [("bad", "abandoned")]
    assert "moved elsewhere" in heard.of(AttemptEnded)[0].report.reason
    bad = llm.cluster.pool.get("bad")
    assert bad is None or (bad.failed, bad.in_flight) == (0, 0), "nobody is blamed"


def test_a_plain_drain_lets_calls_finish(plain_face: Face, server: SimulatedServer, openai: Models) -> None:
    server.behave("bad", latency=0.5)
    llm = pair(openai("bad"), openai("good"))
    thread = when_asked(server, "bad", lambda: llm.cluster.pool.drain("bad"))
    assert text_of(plain_face.ask(llm, "hello")) == "bad says: hello"
    thread.join()
    assert text_of(plain_face.ask(llm, "hello")) == "good says: hello"


def test_a_call_nobody_else_can_make_stays(plain_face: Face, server: SimulatedServer, openai: Models) -> None:
    server.behave("bad", latency=0.5)
    llm = ClusteredLLM([Endpoint("bad", openai("bad"), tier="large"), Endpoint("good", openai("good"))])
    heard = Heard(llm)
    thread = when_asked(server, "bad", lambda: llm.cluster.pool.drain("bad", migrate=True))
    message = plain_face.ask(llm, "hello", {"configurable": {"cluster": {"tier": "large"}}})
    thread.join()
    assert (cluster_of(message)["endpoint"], cluster_of(message)["attempts"]) == ("bad", 1)
    assert heard.of(CallsMigrated) == []


def test_a_call_without_time_for_another_attempt_stays(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", latency=0.5)
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=20.0))
    llm.cluster.pool.typical = {frozenset({Role.LLM}): 60.0}  # answers take longer than this call has left
    thread = when_asked(server, "bad", lambda: llm.cluster.pool.drain("bad", migrate=True))
    assert text_of(plain_face.ask(llm, "hello")) == "bad says: hello"
    thread.join()


def test_a_stream_that_has_begun_is_left_alone(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    if not plain_face.streams:
        pytest.skip("a whole answer delivers nothing before its end")
    server.behave("bad", tokens=20, between_tokens=0.02)
    llm = pair(openai("bad"), openai("good"))
    moved: list[int] = []

    def drain() -> None:
        moved.append(llm.cluster.pool.drain("bad", migrate=True))

    if plain_face.awaited:

        async def read() -> list[str]:
            endpoints = []
            async for chunk in llm.astream("hello"):
                if chunk.text and not moved:
                    drain()
                endpoints.append(chunk.response_metadata.get("cluster", {}).get("endpoint"))
            return endpoints

        endpoints = plain_face.run(read())
    else:
        endpoints = []
        for chunk in llm.stream("hello"):
            if chunk.text and not moved:
                drain()
            endpoints.append(chunk.response_metadata.get("cluster", {}).get("endpoint"))
    assert moved == [0]
    assert [e for e in endpoints if e] == ["bad"]
    assert at_rest(llm, server)


def test_many_waiting_calls_are_moved_together(server: SimulatedServer, openai: Models) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=Policy(timeout=30.0))
    answers: list[Any] = []
    threads = [Thread(target=lambda: answers.append(llm.invoke("hello"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert server.wait_until(lambda: server.in_flight("bad") == 8, within=10.0)
    assert llm.cluster.pool.drain("bad", migrate=True) == 8
    for thread in threads:
        thread.join(20.0)
    assert [cluster_of(answer)["endpoint"] for answer in answers] == ["good"] * 8
    assert llm.cluster.in_flight == 0


def test_an_endpoint_that_joins_takes_over_calls_that_wait_when_the_pool_is_rebalanced(
    server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], policy=Policy(timeout=30.0))
    answers: list[Any] = []
    threads = [Thread(target=lambda: answers.append(llm.invoke("hello"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert server.wait_until(lambda: server.in_flight("bad") == 8, within=10.0)
    assert llm.cluster.pool.rebalance() == 0, "there is nobody else"
    llm.cluster.pool.register(Endpoint("good", openai("good")))
    assert llm.cluster.pool.rebalance() == 3  # five of eight are its part and a quarter more
    assert llm.cluster.pool.drain("bad", migrate=True) == 5
    for thread in threads:
        thread.join(20.0)
    assert [cluster_of(answer)["endpoint"] for answer in answers] == ["good"] * 8


class First:
    """Likes the first best, however busy it is."""

    name = "first"

    def pick(self, candidates: Sequence[Any], request: Request, now: float, rng: Random) -> Any:
        return candidates[0]


def test_a_call_that_is_moved_is_not_made_at_the_same_place_again_while_there_is_another(
    server: SimulatedServer, openai: Models
) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], policy=Policy(timeout=30.0), balancer=First())
    answers: list[Any] = []
    threads = [Thread(target=lambda: answers.append(llm.invoke("hello"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert server.wait_until(lambda: server.in_flight("bad") == 8, within=10.0)
    llm.cluster.pool.register(Endpoint("good", openai("good")))
    assert llm.cluster.pool.rebalance() == 3
    assert server.wait_until(lambda: len(answers) == 3, within=10.0)
    assert llm.cluster.pool.drain("bad", migrate=True) == 5
    for thread in threads:
        thread.join(20.0)
    assert [cluster_of(answer)["endpoint"] for answer in answers] == ["good"] * 8
