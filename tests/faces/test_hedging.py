"""A second attempt when the first is slow, through every face, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from langchain_cluster import HedgePolicy, Policy
from langchain_cluster.model.events import AttemptEnded, HedgeBegun
from langchain_cluster.testing import SimulatedServer, faults
from tests.faces.faces import Face, Heard, at_rest, cluster_of, pair, text_of

Models = Callable[[str], Any]
HEDGED = Policy(hedge=0.1, timeout=30.0)


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """One for each test: what is called off may leave a blocked thread behind."""
    with SimulatedServer() as server:
        yield server


@pytest.fixture
def openai(server: SimulatedServer) -> Models:
    return lambda endpoint: ChatOpenAI(base_url=server.openai_url(endpoint), model="m", api_key="-")


def test_a_slow_endpoint_is_overtaken(face: Face, server: SimulatedServer, openai: Models) -> None:
    server.behave("bad", latency=20.0)
    llm = pair(openai("bad"), openai("good"), policy=HEDGED)
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert text_of(message) == "good says: hello"
    where = cluster_of(message)
    assert (where["endpoint"], where["hedged"], where["attempts"]) == ("good", True, 2)
    assert [(e.slow, e.endpoint) for e in heard.of(HedgeBegun)] == [("bad", "good")]
    assert heard.verdicts == [("bad", "abandoned")]
    assert [member.in_flight for member in llm.cluster.pool] == [0, 0]
    assert llm.cluster.pool.snapshot.by_id["bad"].failed == 0
    if face.awaited:
        face.leftovers()
        assert server.wait_until(lambda: server.in_flight("bad") == 0, within=5.0), "the loser is cancelled"


def test_a_quick_answer_is_not_hedged(face: Face, server: SimulatedServer, openai: Models) -> None:
    llm = pair(openai("bad"), openai("good"), policy=Policy(hedge=10.0))
    where = cluster_of(face.ask(llm, "hello"))
    assert (where["endpoint"], where["hedged"], where["attempts"]) == ("bad", False, 1)
    assert server.count("good") == 0
    assert at_rest(llm, server)


def test_a_first_attempt_that_wins_late_is_the_answer(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", latency=0.5)
    server.behave("good", latency=20.0)
    llm = pair(openai("bad"), openai("good"), policy=HEDGED)
    where = cluster_of(plain_face.ask(llm, "hello"))
    assert (where["endpoint"], where["hedged"]) == ("bad", True)


def test_a_second_attempt_that_fails_does_no_harm(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", latency=0.5)
    server.fail(faults.Status(500), endpoint="good")
    llm = pair(openai("bad"), openai("good"), policy=HEDGED)
    heard = Heard(llm)
    where = cluster_of(plain_face.ask(llm, "hello"))
    assert (where["endpoint"], where["hedged"], where["attempts"]) == ("bad", True, 2)
    assert [e.report.endpoint for e in heard.of(AttemptEnded)] == ["good"]


def test_a_stream_is_whole_though_its_first_token_was_raced_for(
    plain_face: Face, server: SimulatedServer, openai: Models
) -> None:
    if not plain_face.streams:
        pytest.skip("of streams only")
    server.behave("bad", latency=20.0)
    server.behave("good", tokens=30)
    llm = pair(openai("bad"), openai("good"), policy=HEDGED)
    message = plain_face.ask(llm, "hello")
    assert message.usage_metadata is not None
    assert sum(bool(c.response_metadata.get("cluster")) for c in plain_face.received) == 1
    assert len([c for c in plain_face.received if c.text]) >= 20


async def test_whoever_leaves_cancels_both(server: SimulatedServer, openai: Models) -> None:
    import asyncio

    server.behave("bad", latency=20.0)
    server.behave("good", latency=20.0)
    llm = pair(openai("bad"), openai("good"), policy=Policy(hedge=HedgePolicy(after=0.05)))
    call = asyncio.create_task(llm.ainvoke("hello"))
    assert await asyncio.to_thread(server.wait_until, lambda: server.in_flight() == 2, within=10.0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [member.in_flight for member in llm.cluster.pool] == [0, 0]
    assert await asyncio.to_thread(server.wait_until, lambda: server.in_flight() == 0, within=10.0)
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "langchain-cluster-attempt"]
