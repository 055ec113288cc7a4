"""The running thing: what starts when, how it ends, who is in it, and that its faces are all one."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField
from langchain_openai import ChatOpenAI

from langchain_cluster import (
    Cluster,
    ClusteredLLM,
    ClusterError,
    ConfigError,
    DeadlineExceeded,
    Endpoint,
    NoEndpointAvailable,
    Policy,
    Roster,
    StaticDiscovery,
)
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import (
    CallEnded,
    EndpointJoined,
    EndpointLeft,
    EndpointUpdated,
    Event,
    ListenerFailed,
)
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults


def one(*script: Any, **options: Any) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("e", ScriptedModel(*script))], **options)


BEFORE: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _before() -> None:
    """Other tests' clusters may still have a thread that waits for its next call."""
    BEFORE.clear()
    BEFORE.update(threading.enumerate())


def ours() -> list[str]:
    """Names of the library's threads that this test began."""
    new = set(threading.enumerate()) - BEFORE
    return [thread.name for thread in new if thread.name.startswith("langchain-cluster")]


def eventually(condition: Callable[[], bool], within: float = 5.0) -> bool:
    until = time.monotonic() + within
    while not (held := condition()) and time.monotonic() < until:
        time.sleep(0.002)
    return held


class Scripted:
    """A discovery that hands out what a test puts in: a list of endpoints, or an error."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.fetched = 0
        self._roster = Roster((), 0)

    def fetch(self, after: int | None) -> Roster:
        self.fetched += 1
        try:
            item = self.inbox.get(timeout=0.05)
        except Empty:
            return self._roster if after is not None else Roster((), 0)
        if isinstance(item, Exception):
            raise item
        self._roster = Roster(tuple(item), self._roster.revision + 1)
        return self._roster

    async def afetch(self, after: int | None) -> Roster:
        return await asyncio.to_thread(self.fetch, after)


@pytest.fixture
def source() -> Scripted:
    return Scripted()


# -- beginnings -----------------------------------------------------------------------------------------


def test_nothing_runs_before_the_first_call() -> None:
    program = """
import sys, threading
from langchain_cluster import ClusteredLLM, Endpoint, Roster
from langchain_cluster.cache import MemoryCache
from langchain_cluster.testing import ScriptedModel
class Source:
    def fetch(self, after): raise SystemExit("fetched")
    async def afetch(self, after): raise SystemExit("fetched")
llm = ClusteredLLM([Endpoint("e", ScriptedModel())], discovery=Source(), cache=MemoryCache())
view = llm.for_agent("a").bind(stop=["x"])
repr(llm), repr(llm.cluster), llm.cluster.stats()
assert threading.active_count() == 1, threading.enumerate()
assert not llm.cluster.running
assert "openai" not in sys.modules and "redis" not in sys.modules, "no provider is imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_call_starts_it() -> None:
    llm = one("hi")
    assert not llm.cluster.running
    assert repr(llm.cluster).startswith("<Cluster not started, ")
    llm.invoke("hello")
    assert llm.cluster.running
    assert repr(llm.cluster).startswith("<Cluster running, ")
    assert llm.cluster.close()
    assert repr(llm.cluster).startswith("<Cluster closed, ")


def test_starting_twice_is_starting_once(source: Scripted) -> None:
    cluster = Cluster(discovery=source)
    assert cluster.start() is cluster.start() is cluster
    assert len(ours()) == 1
    cluster.close()


async def test_it_starts_and_closes_in_both_colours() -> None:
    llm = one("hi")
    with llm.cluster as cluster:
        assert cluster is llm.cluster
        assert llm.invoke("hello").content == "hi"
    with pytest.raises(ClusterError, match="closed"):
        llm.invoke("hello")
    llm = one("hi")
    async with llm.cluster as cluster:
        assert cluster.running
        assert (await llm.ainvoke("hello")).content == "hi"
    with pytest.raises(ClusterError, match="closed"):
        await llm.ainvoke("hello")


def test_a_closed_cluster_takes_no_calls() -> None:
    llm = one("hi")
    assert llm.cluster.close()
    assert llm.cluster.close(), "closing twice is closing once"
    for ask in (llm.invoke, lambda text: list(llm.stream(text))):
        with pytest.raises(ClusterError, match="the cluster is closed"):
            ask("hello")
    assert llm.cluster.in_flight == 0


def test_a_context_manager_closes_after_an_error() -> None:
    llm = one("hi")
    with pytest.raises(KeyError), llm.cluster:
        raise KeyError
    assert llm.cluster.closed


# -- ends -----------------------------------------------------------------------------------------------


def test_closing_lets_calls_in_flight_finish_and_lets_no_new_ones_in() -> None:
    gate = threading.Event()

    def answer(_: Any) -> str:
        assert gate.wait(10)
        return "finished"

    llm = one(answer)
    said: list[str] = []
    callers = [threading.Thread(target=lambda: said.append(llm.invoke("hello").content)) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert eventually(lambda: llm.cluster.in_flight == 3)
    drained: list[bool] = []
    closer = threading.Thread(target=lambda: drained.append(llm.cluster.close(10.0)))
    closer.start()
    assert eventually(lambda: llm.cluster.closed)
    with pytest.raises(ClusterError, match="closed"):
        llm.invoke("late")
    assert not drained, "it waits"
    gate.set()
    for thread in (*callers, closer):
        thread.join(10)
    assert said == ["finished"] * 3
    assert drained == [True]


async def test_closing_awaited_lets_the_loops_own_calls_finish() -> None:
    llm = one("finished")
    llm.cluster.pool.get("e").endpoint.model.delay = 0.1
    calls = [asyncio.create_task(llm.ainvoke(f"question {n}")) for n in range(5)]
    await asyncio.sleep(0.02)
    assert await llm.cluster.aclose()
    assert [(await call).content for call in calls] == ["finished"] * 5


def test_closing_waits_for_a_stream_that_is_being_read() -> None:
    llm = one("one two three")
    stream = llm.stream("hello")
    next(stream)
    assert not llm.cluster.close(0.05), "it is still in the middle"
    assert "".join(chunk.content for chunk in stream).endswith("three"), "and may finish"
    assert llm.cluster.close(0.05)


async def test_closing_waits_no_longer_than_it_may() -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel(delay=30.0))], drain_timeout=0.1)
    call = asyncio.create_task(llm.ainvoke("hello"))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    assert not await llm.cluster.aclose()
    assert 0.1 <= time.monotonic() - started < 5.0
    call.cancel()


def test_closing_ends_threads_and_the_cache(source: Scripted) -> None:
    class Closable(MemoryCache):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    cache = Closable()
    llm = one("hi", discovery=source, cache=cache)
    for n in range(5):
        llm.invoke(f"question {n}")
    assert ours()
    llm.cluster.close()
    assert eventually(lambda: not ours())
    assert cache.closed == 1


# -- who is in it ---------------------------------------------------------------------------------------


def test_a_roster_that_is_written_down_is_read_once() -> None:
    discovery = StaticDiscovery([Endpoint("a", ScriptedModel("from a"))])
    llm = ClusteredLLM(discovery=discovery)
    assert len(llm.cluster.pool) == 0
    assert llm.invoke("hello").content == "from a"
    assert not any("discovery" in name for name in ours()), "nothing watches it"
    assert llm.cluster.wait_ready(0)


def test_a_roster_that_changes_is_followed(source: Scripted) -> None:
    a, b = Endpoint("a", ScriptedModel("from a")), Endpoint("b", ScriptedModel("from b"))
    llm = ClusteredLLM(discovery=source)
    events: list[Event] = []
    llm.cluster.events.subscribe(events.append)
    source.inbox.put([a])
    assert llm.cluster.wait_ready(5)
    assert eventually(lambda: ids(llm) == ["a"])
    assert llm.invoke("hello").content == "from a"
    source.inbox.put([a, b])
    assert eventually(lambda: ids(llm) == ["a", "b"])
    assert llm.cluster.pool.get("a").served == 1, "who stays keeps its history"
    source.inbox.put([Endpoint("b", b.model, weight=3)])
    assert eventually(lambda: ids(llm) == ["b"])
    assert llm.cluster.pool.get("b").weight == 3
    assert llm.invoke("hello").content == "from b"
    changes = [type(e) for e in events if not isinstance(e, CallEnded)]
    assert changes == [EndpointJoined, EndpointJoined, EndpointUpdated, EndpointLeft]
    llm.cluster.close()


def ids(llm: ClusteredLLM) -> list[str]:
    return [member.endpoint.id for member in llm.cluster.pool]


def test_a_source_that_fails_leaves_the_last_roster(source: Scripted) -> None:
    llm = ClusteredLLM(discovery=source)
    source.inbox.put([Endpoint("a", ScriptedModel("from a"))])
    llm.cluster.start()
    assert eventually(lambda: ids(llm) == ["a"])
    before = source.fetched
    for _ in range(3):
        source.inbox.put(ConnectionError("the registry is away"))
    source.inbox.put(["no endpoint"])  # nonsense is a failure too
    assert eventually(source.inbox.empty, within=20.0)
    assert eventually(lambda: source.fetched > before + 4, within=20.0)
    assert ids(llm) == ["a"]
    assert llm.invoke("hello").content == "from a"
    source.inbox.put([Endpoint("b", ScriptedModel("from b"))])
    assert eventually(lambda: ids(llm) == ["b"], within=20.0), "and it is asked again"
    llm.cluster.close()


def test_endpoints_given_outright_stay_whatever_a_source_says(source: Scripted) -> None:
    llm = one("fixed", discovery=source)
    source.inbox.put([Endpoint("e", ScriptedModel("not this")), Endpoint("found", ScriptedModel())])
    llm.cluster.start()
    assert eventually(lambda: set(ids(llm)) == {"e", "found"})
    source.inbox.put([])
    assert eventually(lambda: ids(llm) == ["e"])
    assert llm.invoke("hello").content == "fixed"
    llm.cluster.close()


def test_two_sources_are_one_pool(source: Scripted) -> None:
    other = StaticDiscovery([Endpoint("static", ScriptedModel())])
    llm = ClusteredLLM(discovery=[source, other])
    source.inbox.put([Endpoint("dynamic", ScriptedModel())])
    llm.cluster.start()
    assert eventually(lambda: set(ids(llm)) == {"static", "dynamic"})
    llm.cluster.close()


def test_a_call_before_anybody_is_known_says_that_nobody_is(source: Scripted) -> None:
    llm = ClusteredLLM(discovery=source, timeout=0.3)
    with pytest.raises((NoEndpointAvailable, DeadlineExceeded)):
        llm.invoke("hello")
    llm.cluster.close()


async def test_one_can_wait_until_the_first_roster_is_in() -> None:
    slow = Scripted()
    slow.fetch = lambda after: (time.sleep(0.2), Roster((Endpoint("a", ScriptedModel()),), 1))[1]
    llm = ClusteredLLM(discovery=slow)
    assert not llm.cluster.wait_ready(0.01)
    assert not await llm.cluster.await_ready(0.01)
    assert await llm.cluster.await_ready(5.0)
    assert llm.cluster.wait_ready()
    assert (await llm.ainvoke("hello")).content == "ok"
    await llm.cluster.aclose()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "the pool is empty"),
        ({"endpoints": []}, "the pool is empty"),
        ({"endpoints": Endpoint("e", ScriptedModel())}, "is not a list of Endpoint"),
        ({"endpoints": ["e"]}, "str is not an Endpoint"),
        ({"endpoints": [Endpoint("e", "gpt")]}, "not a LangChain chat model"),
        ({"endpoints": [Endpoint("e")]}, "not a LangChain chat model"),
        (
            {"endpoints": [Endpoint("e", ScriptedModel()), Endpoint("e", ScriptedModel())]},
            "two endpoints have the id 'e'",
        ),
        ({"discovery": object()}, "is no Discovery"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "balancer": "round_robbin"}, "did you mean"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "policy": "fast"}, "is not a Policy"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "polcy": Policy()}, "did you mean 'policy'"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "cache": "redis"}, "is no CacheStore"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "timeout": -1}, "timeout"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "max_retries": -1}, "attempts"),
        ({"endpoints": [Endpoint("e", ScriptedModel())], "agents": {"a": 3}}, "agents.a"),
    ],
    ids=lambda given: "" if isinstance(given, dict) else given,
)
def test_what_is_not_valid_is_told_at_once(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ClusteredLLM(**given)


# -- what can be seen -----------------------------------------------------------------------------------


def test_a_listener_hears_everything_until_it_unsubscribes() -> None:
    llm = one("hi")
    heard: list[Event] = []
    unsubscribe = llm.cluster.events.subscribe(heard.append)
    llm.invoke("hello")
    (ended,) = heard
    assert isinstance(ended, CallEnded)
    assert ended.answer.endpoint == "e"
    assert ended.answer.value is None, "what was said is nobody's business"
    unsubscribe()
    unsubscribe()
    llm.invoke("hello")
    assert len(heard) == 1


def test_a_listener_may_call_the_cluster_that_is_just_starting() -> None:
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel("hi"))], discovery=StaticDiscovery([Endpoint("b", ScriptedModel("hi"))])
    )
    answers: list[Any] = []

    def greet(event: Event) -> None:
        if isinstance(event, EndpointJoined):
            answers.append(llm.invoke("hello").content)

    llm.cluster.events.subscribe(greet)
    first = threading.Thread(target=lambda: answers.append(llm.invoke("hello").content), daemon=True)
    first.start()
    first.join(5.0)
    assert answers == ["hi", "hi"]
    llm.cluster.close()


def test_a_listener_may_close_the_cluster_from_a_thread_of_its_own() -> None:
    class Changing:
        def fetch(self, after: int | None) -> Roster:
            return Roster((Endpoint(f"e{after}", ScriptedModel("hi")),), (after or 0) + 1)

        async def afetch(self, after: int | None) -> Roster:
            return self.fetch(after)

    cluster, failed, closed = Cluster(discovery=Changing()), [], threading.Event()

    def close(event: Event) -> None:
        if isinstance(event, ListenerFailed):
            failed.append(event)
        elif not closed.is_set():
            closed.set()
            assert cluster.close()

    cluster.events.subscribe(close)
    cluster.start()
    assert closed.wait(5.0)
    assert eventually(lambda: not cluster.running)
    assert (failed, cluster.closed) == ([], True)


def test_a_listener_that_raises_harms_neither_the_call_nor_the_others() -> None:
    llm = one("hi")
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("I am broken")

    llm.cluster.events.subscribe(broken)
    llm.cluster.events.subscribe(heard.append)
    assert llm.invoke("hello").content == "hi"
    assert [type(event) for event in heard] == [CallEnded, ListenerFailed]
    assert "broken" in heard[1].listener


def test_the_counts_add_up() -> None:
    llm = one("hi", ConnectionError("down"), "hi", cache=MemoryCache(), policy=Policy(attempts=1))
    llm.invoke("one")
    llm.invoke("one")
    with pytest.raises(ConnectionError):
        llm.invoke("two")
    stream = llm.stream("three")
    next(stream)
    assert llm.cluster.stats()["in_flight"] == 1
    stream.close()
    stats = llm.cluster.stats()
    endpoints = stats.pop("endpoints")
    assert stats == {
        "calls": 4,
        "answered": 2,
        "failed": 1,
        "abandoned": 1,
        "cache_hits": 1,
        "attempts": stats["attempts"],
        "in_flight": 0,
        "throttled": 0,
        "queue": {"waiting": 0, "size": 10_000, "waited": 0, "shed": 0},
        "budgets": [],
    }
    assert endpoints["e"]["served"] == 1
    assert endpoints["e"]["failed"] == 1
    assert endpoints["e"]["in_flight"] == 0
    assert endpoints["e"]["circuit"] == "closed"


# -- loops ----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


def test_one_model_serves_one_event_loop_after_another(server: SimulatedServer) -> None:
    # The SDK keeps connections of the closed loop: the first use of each fails, and is nobody's fault.
    llm = ClusteredLLM(
        [
            Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))
            for name in ("a", "b")
        ]
    )

    async def several() -> list[str]:
        answers = await asyncio.gather(*(llm.ainvoke(f"question {n}") for n in range(8)))
        return [a.text.partition(" says: ")[2] for a in answers]

    async def streamed() -> str:
        return "".join([chunk.text async for chunk in llm.astream("in bits")])

    for _ in range(4):
        assert asyncio.run(several()) == [f"question {n}" for n in range(8)]
        assert asyncio.run(streamed()).endswith("says: in bits")
        assert llm.invoke("blocking").text.endswith("says: blocking")
    assert [member.failed for member in llm.cluster.pool] == [0, 0]
    assert llm.cluster.stats()["failed"] == 0
    assert llm.cluster.in_flight == 0


def test_many_loops_at_one_time_share_one_model() -> None:
    llm = one("hi")
    llm.cluster.pool.get("e").endpoint.model.delay = 0.02
    said: list[str] = []

    async def several() -> None:
        said.extend(a.content for a in await asyncio.gather(*(llm.ainvoke(str(n)) for n in range(10))))

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert said == ["hi"] * 40
    assert llm.cluster.in_flight == 0


def test_a_sync_call_inside_a_running_loop_is_a_call_like_any_other() -> None:
    llm = one("hi")

    async def inside() -> str:
        return llm.invoke("hello").content + "".join(c.content for c in llm.stream("hello"))

    assert asyncio.run(inside()) == "hihi"


# -- faces of one thing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "face",
    [
        lambda llm: llm.model_copy(),
        lambda llm: llm.model_copy(deep=True),
        copy,
        deepcopy,
        lambda llm: llm.for_agent("planner"),
        lambda llm: llm.for_agent("planner", attempts=1),
        lambda llm: llm.with_config({"tags": ["t"]}),
        lambda llm: llm.bind(stop=["x"]),
        lambda llm: llm.bind_tools([]),
        lambda llm: llm | StrOutputParser(),
        lambda llm: llm.configurable_fields(temperature=ConfigurableField(id="t")),
        lambda llm: llm.configurable_fields(temperature=ConfigurableField(id="t")).with_config(
            {"configurable": {"t": 0.5}}
        ),
        lambda llm: llm.with_retry(stop_after_attempt=1),
        lambda llm: llm.with_fallbacks([ScriptedModel("no")]),
        lambda llm: llm.configurable_alternatives(ConfigurableField(id="m"), other=ScriptedModel("no")),
    ],
    ids=[
        "copy", "deep copy", "copy.copy", "copy.deepcopy", "for_agent", "for_agent with policy",
        "with_config", "bind", "bind_tools", "chain", "configurable_fields", "configured fields",
        "with_retry", "with_fallbacks", "alternatives",
    ],
)  # fmt: skip
async def test_every_face_of_a_model_is_the_same_running_thing(face: Any) -> None:
    llm = one("hi")
    other = face(llm)
    other.invoke("hello")
    await other.ainvoke("hello")
    assert llm.cluster.stats()["calls"] == 2
    assert llm.cluster.pool.get("e").endpoint.model.calls == 2
    assert llm.cluster.pool.get("e").served == 2


def test_a_configured_field_reaches_the_endpoint() -> None:
    llm = one("hi")
    configurable = llm.configurable_fields(temperature=ConfigurableField(id="t"))
    configurable.invoke("hello", {"configurable": {"t": 0.25}})
    assert llm.cluster.pool.get("e").endpoint.model.arguments == [{"temperature": 0.25}]


def test_what_holds_live_connections_is_not_pickled() -> None:
    llm = one("hi")
    for thing in (llm, llm.for_agent("a"), llm.bind(stop=["x"])):
        with pytest.raises(TypeError, match=r"cannot be pickled; one that was built with .*from_config can"):
            pickle.dumps(thing)
    with pytest.raises(TypeError):
        pickle.dumps(llm.cluster)


def test_what_was_built_from_a_config_is_rebuilt_from_it(
    server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_cluster.config.load")
    monkeypatch.setenv("CANARY_KEY", "sk-canary")
    llm = ClusteredLLM.from_config(
        {
            "endpoints": [
                {
                    "id": "gpu-1",
                    "model": "openai:m",
                    "url": server.openai_url("gpu-1"),
                    "api_key_env": "CANARY_KEY",
                }
            ],
            "policy": {"attempts": 2},
        }
    )
    view = llm.for_agent("planner", timeout=3.0).model_copy(update={"temperature": 0.5})
    raw = pickle.dumps(view)
    assert b"sk-canary" not in raw
    again = pickle.loads(raw)
    assert (again.agent, again.temperature, again.policy.timeout) == ("planner", 0.5, 3.0)
    assert again.cluster is not llm.cluster
    assert again.cluster.policy.attempts == 2
    assert again.invoke("hello").text == "gpu-1 says: hello"


def test_an_endpoint_that_is_drained_by_hand_gets_no_new_calls(server: SimulatedServer) -> None:
    llm = ClusteredLLM([Endpoint("a", ScriptedModel("a")), Endpoint("b", ScriptedModel("b"))])
    llm.cluster.pool.drain("a")
    assert {llm.invoke(str(n)).content for n in range(6)} == {"b"}
    llm.cluster.pool.undrain("a")
    llm.cluster.pool.force_open("b")
    assert {llm.invoke(str(n)).content for n in range(6)} == {"a"}
    llm.cluster.pool.drain("a")
    with pytest.raises(NoEndpointAvailable) as nobody:
        llm.invoke("hello")
    assert nobody.value.why == {"a": "draining", "b": "forced open"}
    assert nobody.value.retry_after is None


def test_traffic_returns_to_an_endpoint_that_recovers(server: SimulatedServer) -> None:
    from langchain_cluster import BreakerPolicy

    model = ChatOpenAI(base_url=server.openai_url("primary"), model="m", api_key="-")
    llm = ClusteredLLM(
        [Endpoint("primary", model), Endpoint("standby", ScriptedModel("standby"), priority=1)],
        breaker=BreakerPolicy(consecutive_failures=2, open_for=0.2),
    )
    server.fail(faults.Status(500), endpoint="primary")
    assert [llm.invoke(str(n)).text for n in range(6)] == ["standby"] * 6
    assert server.count("primary") == 2, "and then its circuit is open"
    server.heal()
    assert eventually(lambda: llm.invoke("again").text == "primary says: again")
    assert llm.cluster.pool.get("primary").breaker_state == "closed"
