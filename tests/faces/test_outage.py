"""When everything fails, and when it is well again: attempts in a storm, the way back, and who may probe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_cluster import BreakerPolicy, ClusteredLLM, Endpoint, Outcome, Policy
from langchain_cluster.guard.breaker import BreakerState
from langchain_cluster.testing import FakeClock, ScriptedModel, SimulatedServer, faults
from tests.faces.faces import Face, at_rest, cluster_of, pair, text_of

Models = Callable[[str], Any]


# -- a storm --------------------------------------------------------------------------------------


def storm(face: Face, breaker: BreakerPolicy | None) -> int:
    """Attempts of 100 calls a second for a minute, all of which fail."""
    clock = FakeClock()
    models = [ScriptedModel(ConnectionError("down")) for _ in range(4)]
    llm = ClusteredLLM(
        [Endpoint(f"e{n}", model) for n, model in enumerate(models)],
        policy=Policy(attempts=4, timeout=30.0),
        breaker=breaker,
        clock=clock,
        seed=5,
    )

    def ask() -> None:
        with suppress(Exception):
            face.ask(llm, "hello")

    for _ in range(6000):
        ask()
        clock.advance(0.01)
    assert llm.cluster.stats()["calls"] == 6000
    return sum(model.calls for model in models)


def test_a_storm_of_failures_is_not_multiplied_by_retries(plain_face: Face) -> None:
    attempts = storm(plain_face, breaker=None)
    assert 6000 < attempts <= 7800, "three blind retries would make 24,000"


def test_with_circuits_a_storm_is_a_handful_of_probes(plain_face: Face) -> None:
    assert storm(plain_face, breaker=BreakerPolicy()) < 100


# -- the way back ---------------------------------------------------------------------------------


def test_after_a_minute_of_outage_traffic_is_back_within_half_a_minute(plain_face: Face) -> None:
    clock = FakeClock()
    down = [True]

    def primary(_: Any) -> Any:
        return ConnectionError("down") if down[0] else "primary"

    llm = pair(ScriptedModel(primary), ScriptedModel("standby"), clock=clock)
    asked: list[str] = []

    def second() -> None:
        for _ in range(5):
            message = plain_face.ask(llm, "hello")
            asked.append(text_of(message))
            assert cluster_of(message)["endpoint"] == ("bad" if asked[-1] == "primary" else "good")
            clock.advance(0.2)

    for _ in range(60):
        second()
    assert set(asked) == {"standby"}, "and no call was lost"
    assert llm.cluster.pool.snapshot.by_id["bad"].failed < 15
    down[0], waited = False, 0
    while asked[-1] != "primary":
        second()
        waited += 1
    assert waited <= 30
    second()
    assert asked[-5:] == ["primary"] * 5


# -- probes ---------------------------------------------------------------------------------------


class Gate(BaseChatModel):
    """Fails until told otherwise; then holds whoever asks until all of the others were answered."""

    model_name: str = "gate"
    well: bool = False
    asked: int = 0
    gate: Any = None
    agate: Any = None
    lock: Any = None

    def _enter(self) -> None:
        if not self.well:
            raise ConnectionError("down")
        with self.lock:
            self.asked += 1

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        self._enter()
        assert self.gate.wait(30.0)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("probed"))])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> ChatResult:
        self._enter()
        await self.agate.wait()
        return ChatResult(generations=[ChatGeneration(message=AIMessage("probed"))])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Iterator[ChatGenerationChunk]:
        self._enter()
        assert self.gate.wait(30.0)
        yield ChatGenerationChunk(message=AIMessageChunk(content="probed", chunk_position="last"))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._enter()
        await self.agate.wait()
        yield ChatGenerationChunk(message=AIMessageChunk(content="probed", chunk_position="last"))

    @property
    def _llm_type(self) -> str:
        return "gate"


def due(probes: int) -> tuple[ClusteredLLM, Gate, FakeClock]:
    """A cluster whose first endpoint is due for its probes; the other answers."""
    clock = FakeClock()
    gate = Gate(gate=Event(), agate=asyncio.Event(), lock=Lock())
    breaker = BreakerPolicy(consecutive_failures=1, half_open_probes=probes, open_for=5.0)
    llm = pair(gate, ScriptedModel("well"), policy=Policy(timeout=600.0), breaker=breaker, clock=clock)
    assert llm.invoke("hello").text == "well"
    assert llm.cluster.pool.snapshot.by_id["bad"].breaker_state is BreakerState.OPEN
    clock.advance(10.0)
    gate.well = True
    return llm, gate, clock


@pytest.mark.parametrize(("probes", "rounds"), [(1, 100), (3, 10)])
@pytest.mark.parametrize("streams", [False, True], ids=["invoke", "stream"])
def test_of_a_hundred_threads_exactly_as_many_reach_a_half_open_endpoint(
    probes: int, rounds: int, *, streams: bool
) -> None:
    for _ in range(rounds if not streams else rounds // 10):
        llm, gate, _ = due(probes)
        heard: list[str] = []

        def ask(llm: ClusteredLLM = llm, gate: Gate = gate, heard: list[str] = heard) -> None:
            text = "".join(c.text for c in llm.stream("hi")) if streams else llm.invoke("hi").text
            heard.append(text)
            if heard.count("well") == 100 - probes:
                gate.gate.set()

        threads = [Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert gate.asked == probes
        assert sorted(heard) == ["probed"] * probes + ["well"] * (100 - probes)
        assert llm.cluster.pool.snapshot.by_id["bad"].breaker_state is BreakerState.CLOSED
        assert at_rest(llm)
        llm.cluster.close()


@pytest.mark.parametrize(("probes", "rounds"), [(1, 4), (5, 2)])
@pytest.mark.parametrize("streams", [False, True], ids=["ainvoke", "astream"])
async def test_of_a_thousand_tasks_exactly_as_many_reach_a_half_open_endpoint(
    probes: int, rounds: int, *, streams: bool
) -> None:
    for _ in range(rounds):
        llm, gate, _ = due(probes)
        heard: list[str] = []

        async def ask(llm: ClusteredLLM = llm, gate: Gate = gate, heard: list[str] = heard) -> None:
            if streams:
                heard.append("".join([c.text async for c in llm.astream("hi")]))
            else:
                heard.append((await llm.ainvoke("hi")).text)
            if len(heard) == 1000 - probes:
                gate.agate.set()

        await asyncio.gather(*(ask() for _ in range(1000)))
        assert gate.asked == probes
        assert heard.count("probed") == probes
        assert llm.cluster.pool.snapshot.by_id["bad"].breaker_state is BreakerState.CLOSED
        assert at_rest(llm)


# -- whose fault it was ---------------------------------------------------------------------------


def test_a_stale_success_does_not_close_a_circuit(plain_face: Face) -> None:
    llm, gate, clock = due(1)
    pool = llm.cluster.pool
    pool.reset("bad")
    early = pool.acquire()  # asked while all was well, and answered when it no longer is
    assert early.endpoint.id == "bad"
    gate.well = False
    assert text_of(plain_face.ask(llm, "hi")) == "well"
    assert pool.snapshot.by_id["bad"].breaker_state is BreakerState.OPEN
    early.settle(Outcome.ok(seconds=0.1), now=clock.now())
    assert pool.snapshot.by_id["bad"].breaker_state is BreakerState.OPEN
    assert text_of(plain_face.ask(llm, "hi")) == "well"


async def test_callers_that_cancel_open_no_circuit() -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel([30.0, "late"]))])
    for ask in (llm.ainvoke, lambda text: anext(llm.astream(text))):
        tasks = [asyncio.ensure_future(ask("hi")) for _ in range(30)]
        while llm.cluster.in_flight < 30:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        member = llm.cluster.pool.snapshot.by_id["e"]
        assert (member.breaker_state, member.failed, member.in_flight) == (BreakerState.CLOSED, 0, 0)


def test_readers_that_leave_open_no_circuit() -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("one two three"))])
    for _ in range(30):
        stream = llm.stream("hi")
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    member = llm.cluster.pool.snapshot.by_id["e"]
    assert (member.breaker_state, member.failed, member.in_flight) == (BreakerState.CLOSED, 0, 0)


def test_deadlines_that_pass_do_open_it(plain_face: Face, server: SimulatedServer, openai: Models) -> None:
    server.fail(faults.Hang(), endpoint="bad")
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], policy=Policy(timeout=0.2, attempts=1))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            plain_face.ask(llm, "hi")
    assert llm.cluster.pool.snapshot.by_id["bad"].breaker_state is BreakerState.OPEN
    assert server.count("bad") == 5
