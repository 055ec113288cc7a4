"""Streams that take long, and are not taken for calls that hang."""

from __future__ import annotations

from langchain_cluster import ClusteredLLM, Endpoint, HedgePolicy, Outcome, OutlierPolicy, Policy
from langchain_cluster.model.endpoint import EndpointState
from langchain_cluster.testing import FakeClock, ScriptedModel

PATIENT = Policy(timeout=None, idle_timeout=None)


def quick_and_long(clock: FakeClock, policy: Policy) -> ClusteredLLM:
    llm = ClusteredLLM(
        [Endpoint(id, ScriptedModel("one two three")) for id in "ab"],
        balancer="round_robin",
        outlier=OutlierPolicy(consecutive_failures=3),
        policy=policy,
        clock=clock,
    )
    for _ in range(10):  # what answers take here
        llm.cluster.pool.acquire().settle(Outcome.ok(seconds=0.1))
    return llm


def up(llm: ClusteredLLM) -> bool:
    pool = llm.cluster.pool
    return all(pool.state(member.endpoint.id) is EndpointState.UP for member in pool)


def test_endpoints_that_are_streaming_are_not_ejected_for_it() -> None:
    clock = FakeClock()
    for policy in (PATIENT, PATIENT.but(recover="resume"), PATIENT.but(hedge=HedgePolicy(after=300.0))):
        llm = quick_and_long(clock, policy)
        streams = [llm.stream("hello") for _ in range(10)]
        begun = [next(stream).text for stream in streams]
        clock.advance(60.0)
        for _ in range(10):
            llm.invoke("hello")
        assert up(llm)
        assert {first + "".join(c.text for c in s) for first, s in zip(begun, streams, strict=True)} == {
            "one two three"
        }
        llm.cluster.close()


async def test_the_same_on_an_event_loop() -> None:
    clock = FakeClock()
    llm = quick_and_long(clock, PATIENT)
    streams = [llm.astream("hello") for _ in range(10)]
    begun = [(await anext(stream)).text for stream in streams]
    clock.advance(60.0)
    for _ in range(10):
        await llm.ainvoke("hello")
    assert up(llm)
    rest = ["".join([chunk.text async for chunk in stream]) for stream in streams]
    assert {first + more for first, more in zip(begun, rest, strict=True)} == {"one two three"}
    await llm.cluster.aclose()
