"""A step is worked out once, and only where its result may be kept; asked through every face."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableGenerator, RunnableLambda
from langchain_core.runnables.utils import AddableDict

from langchain_cluster import ClusteredLLM, ConfigError, DeadlineExceeded, Endpoint, cached, deadline
from langchain_cluster.cache import LayeredCache, MemoryCache
from langchain_cluster.model.events import CacheFailed, CacheRecovered, NotCached
from langchain_cluster.steps import CachedRunnable
from langchain_cluster.testing import FakeClock, ScriptedModel, ScriptedRetriever
from tests.steps.asking import Counted, Face, settings

NOT_KEPT = {"cache": False}


def test_what_was_worked_out_is_not_worked_out_again(face: Face) -> None:
    search = Counted()
    step = cached(search)
    assert face.ask(step, "a") == "a 0"
    assert face.ask(step, "a") == "a 0"
    assert face.ask(step, "b") == "b 1"
    assert search.inputs == ["a", "b"]


def test_every_face_finds_what_another_has_kept(runner: asyncio.Runner) -> None:
    search = Counted()
    step = cached(search)
    for name in ("astream", "invoke", "abatch", "stream", "ainvoke", "batch"):
        assert Face(name, runner).ask(step, {"q": 1}) == "{'q': 1} 0"
    assert search.calls == 1


def test_a_batch_asks_once_for_what_is_in_it_twice() -> None:
    search = Counted()
    assert cached(search).batch(["a", "b", "a"], {"max_concurrency": 1}) == ["a 0", "b 1", "a 0"]


@pytest.mark.parametrize(
    "value",
    [
        None, 0, 1.5, "text", True, [], {}, [1, [None, {"a": "b"}]], ("a", [1, (2,)]), b"\x00\xff",
        [Document("text", metadata={"page": 3, "of": ["x"]}, id="1")],
        {"documents": (Document("x"), 0.7), "said": HumanMessage("hi", name="ann")},
        ToolMessage("12", tool_call_id="1", artifact={"rows": [1]}),
    ],
    ids=repr,
)  # fmt: skip
def test_a_result_comes_back_as_it_was_and_ones_own(value: Any, face: Face) -> None:
    step = cached(Counted(value))
    first, again = face.ask(step, "q"), face.ask(step, "q")
    assert (again, type(again)) == (first, type(first)) == (value, type(value))
    if isinstance(value, list | dict) and value:
        assert again is not face.ask(step, "q")


def test_an_answer_of_a_model_comes_back_whole(face: Face) -> None:
    call = {"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}
    message = AIMessage(
        "hi", tool_calls=[call], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"finish_reason": "stop"}, id="run-1",
    )  # fmt: skip
    step = cached(Counted(message))
    face.ask(step, "q")
    again = face.ask(step, "q")
    for name in ("content", "tool_calls", "usage_metadata", "response_metadata", "id"):
        assert getattr(again, name) == getattr(message, name), name
    assert type(again) is (AIMessageChunk if "stream" in face.name else AIMessage)


def test_an_error_is_not_kept(face: Face) -> None:
    search = Counted(TimeoutError("no index"), "found")
    step = cached(search)
    with pytest.raises(TimeoutError, match="no index"):
        face.ask(step, "a")
    assert face.ask(step, "a") == face.ask(step, "a") == "found"
    assert search.calls == 2


def test_nor_is_a_message_that_tells_of_one(face: Face) -> None:
    search = Counted(ToolMessage("down", tool_call_id="1", status="error"), "found")
    step = cached(search)
    assert face.ask(step, "a").content == "down"
    assert face.ask(step, "a") == "found"


@pytest.mark.parametrize(
    "value", [object(), float("nan"), {1: "a"}, [{"x": {1, 2}}], Document("x", metadata={"o": object()})]
)
def test_what_cannot_be_encoded_is_handed_out_and_told(
    value: Any, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    search = Counted(value)
    step = cached(search)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    with caplog.at_level(logging.WARNING, logger="langchain_cluster"):
        assert face.ask(step, "a") is value
        assert face.ask(step, "a") is value
    assert search.calls == 2
    assert [type(event) for event in heard] == [NotCached, NotCached]
    assert heard[0].step == "RunnableLambda"
    assert len([record for record in caplog.records if "not_cached" in record.message]) == 1


def test_an_input_that_cannot_be_told_apart_is_not_cached(face: Face) -> None:
    search = Counted("x", "y")
    step = cached(search)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    alive = object()
    assert [face.ask(step, alive), face.ask(step, alive)] == ["x", "y"]
    assert {type(event) for event in heard} == {NotCached}


def test_a_result_lives_as_long_as_it_is_told(face: Face) -> None:
    clock = FakeClock()
    search = Counted()
    step = cached(search, ttl="10s", cache=MemoryCache(clock=clock.now), clock=clock)
    assert face.ask(step, "a") == "a 0"
    clock.advance(9.9)
    assert face.ask(step, "a") == "a 0"
    clock.advance(0.2)
    assert face.ask(step, "a") == "a 1"


def test_the_key_says_what_counts(face: Face) -> None:
    search = Counted()
    step = cached(search, key=lambda input: input["q"].strip() or None)
    assert face.ask(step, {"q": "a ", "trace": 1}) == face.ask(step, {"q": " a", "trace": 2})
    assert search.calls == 1
    assert face.ask(step, {"q": ""}) != face.ask(step, {"q": ""})  # None: not to be cached


def test_a_key_that_tells_nothing_apart_is_a_mistake(face: Face) -> None:
    with pytest.raises(ConfigError, match=r"cached\.key.*object tells nothing apart"):
        face.ask(cached(Counted(), key=lambda input: object()), "a")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ttl": 0}, "cached.ttl"),
        ({"ttl": -1}, "cached.ttl"),
        ({"ttl": "soon"}, "cached.ttl"),
        ({"key": "q"}, "cached.key"),
        ({"name": ""}, "cached.name"),
        ({"cache": object()}, "no CacheStore"),
        ({"cache": False}, "no store"),
        ({"cache": ClusteredLLM([Endpoint("e", ScriptedModel())])}, "has none"),
    ],
    ids=str,
)
def test_a_mistake_is_told_at_once(given: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        cached(Counted(), **given)


def test_only_a_runnable_or_a_function_can_be_cached() -> None:
    with pytest.raises(ConfigError, match="int is neither a Runnable nor a function"):
        cached(3)


def test_tenants_do_not_see_each_others_results(face: Face) -> None:
    step = cached(Counted("ann's", "bob's", "nobody's"))
    for _ in range(2):
        assert face.ask(step, "mine", settings(tenant="ann")) == "ann's"
        assert face.ask(step, "mine", settings(tenant="bob")) == "bob's"
        assert face.ask(step, "mine") == "nobody's"


def test_a_call_may_leave_the_cache_alone_or_renew_it(face: Face) -> None:
    step = cached(Counted("one", "two", "three", "four"))
    assert face.ask(step, "q", settings(cache=False)) == "one"
    assert face.ask(step, "q") == face.ask(step, "q") == "two"
    assert face.ask(step, "q", settings(cache="refresh")) == "three"
    assert face.ask(step, "q") == "three"


def test_who_renews_it_does_not_wait_for_who_looks() -> None:
    store = Counting()
    step = cached(Counted("old", "new"), cache=store)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    store.go.set()
    step.invoke("q")
    store.go.clear()
    store.asked.clear()
    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(step.invoke, "q")
        assert store.asked.wait(30)
        assert step.invoke("q", settings(cache="refresh")) == "new"
        store.go.set()
        assert looking.result(30) in ("old", "new")
    assert heard == []  # it did not have to give up on a store that holds it up


def test_a_wish_that_does_not_exist_is_told(face: Face) -> None:
    with pytest.raises(ConfigError, match="unknown key 'tennant'"):
        face.ask(cached(Counted()), "q", settings(tennant="ann"))


def test_arguments_count(face: Face) -> None:
    calls = []

    def search(q: str, k: int = 1) -> str:
        calls.append(k)
        return q * k

    step = cached(RunnableLambda(search))
    assert [face.ask(step, "a", k=k) for k in (1, 2, 2, 1)] == ["a", "aa", "aa", "a"]
    assert len(calls) == 2


def test_what_a_step_may_read_from_its_config_counts(face: Face) -> None:
    def mine(q: str, config: Any) -> str:
        return f"{q} of {config['configurable'].get('user_id')}"

    step = cached(RunnableLambda(mine))
    for _ in range(2):
        assert face.ask(step, "orders", {"configurable": {"user_id": "ann"}}) == "orders of ann"
        assert face.ask(step, "orders", {"configurable": {"user_id": "bob"}}) == "orders of bob"


def test_the_thread_of_a_graph_does_not_count_unless_the_step_says_so(face: Face) -> None:
    search = Counted()
    step = cached(search)
    for thread in ("1", "2"):
        assert face.ask(step, "q", {"configurable": {"thread_id": thread, "__pregel_x": object()}}) == "q 0"
    template = ChatPromptTemplate.from_messages(["hi"]).configurable_fields(
        metadata=ConfigurableField(id="thread_id")
    )
    keys = {cached(template).keeper.step({}, {"configurable": {"thread_id": n}}, {}).key for n in "12"}
    assert len(keys) == 2


def test_fifty_callers_of_one_question_work_it_out_once() -> None:
    begun, go = threading.Event(), threading.Event()
    calls = []

    def slow(q: str) -> str:
        calls.append(q)
        begun.set()
        assert go.wait(30)
        return "found"

    step = cached(slow)

    async def many() -> list[Any]:
        waiting = [asyncio.create_task(step.ainvoke("q")) for _ in range(24)]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*waiting)

    with ThreadPoolExecutor(26) as threads:
        first = threads.submit(step.invoke, "q")
        assert begun.wait(30)
        others = [threads.submit(step.invoke, "q") for _ in range(25)]
        assert asyncio.run(many()) == ["found"] * 24
        assert [one.result(30) for one in (first, *others)] == ["found"] * 26
    assert calls == ["q"]


class Counting(MemoryCache):
    """A store that counts its reads, and holds up the first one."""

    longest = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.asked, self.go = 0, threading.Event(), threading.Event()

    def get(self, key: str) -> bytes | None:
        self.reads += 1
        self.asked.set()
        assert self.go.wait(30)
        return super().get(key)


@pytest.mark.parametrize("kept", [False, True])
def test_of_many_callers_one_looks(kept: bool) -> None:
    store, search = Counting(), Counted()
    step = cached(search, cache=store)
    store.go.set()
    if kept:
        step.invoke("q")
    store.reads = 0
    store.asked.clear()
    store.go.clear()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(step.invoke, "q")
        assert store.asked.wait(30)
        others = [threads.submit(step.invoke, "q") for _ in range(8)]
        (flight,) = step.keeper._flights._under_way.values()
        end = time.monotonic() + 30.0
        while len(flight._waiting) < 8:
            assert time.monotonic() < end
            time.sleep(0.001)
        store.go.set()
        assert {one.result(30) for one in (first, *others)} == {"q 0"}
    assert (store.reads, search.calls) == (1, 1)


def test_an_error_of_one_is_not_the_others() -> None:
    begun, go = threading.Event(), threading.Event()
    calls = []

    def first_fails(q: str) -> str:
        calls.append(q)
        if len(calls) == 1:
            begun.set()
            assert go.wait(30)
            raise ValueError("mine alone")
        return "found"

    step = cached(first_fails)
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(step.invoke, "q")
        assert begun.wait(30)
        joined = threads.submit(step.invoke, "q")
        go.set()
        with pytest.raises(ValueError, match="mine alone"):
            failing.result(30)
        assert joined.result(30) == "found"


async def test_whoever_waits_takes_over_from_one_that_is_cancelled() -> None:
    calls = []

    async def slow(q: str) -> str:
        calls.append(q)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "found"

    step = cached(RunnableLambda(slow))
    first = asyncio.create_task(step.ainvoke("q"))
    while not calls:
        await asyncio.sleep(0)
    others = [asyncio.create_task(step.ainvoke("q")) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == ["found"] * 3
    assert len(calls) == 2  # one of them, and the others wait for that one


class Away(MemoryCache):
    """A store that fails while it is `away`."""

    away = True
    longest = 0.0

    def get(self, key: str) -> bytes | None:
        if self.away:
            raise ConnectionError("no route to 10.0.0.9 with password")
        return super().get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        if self.away:
            raise ConnectionError("no route")
        super().set(key, value, ttl)


def test_a_store_that_fails_is_an_event_and_not_an_error(face: Face) -> None:
    store = Away()
    step = cached(Counted(), cache=store)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    assert [face.ask(step, "a"), face.ask(step, "a")] == ["a 0", "a 1"]
    assert [event.operation for event in heard] == ["lookup", "store"] * 2
    assert all(isinstance(event, CacheFailed) and "password" not in event.error for event in heard)
    store.away = False
    assert face.ask(step, "a") == face.ask(step, "a") == "a 2"
    assert isinstance(heard[4], CacheRecovered)


@pytest.mark.parametrize(
    "raw", [b"", b"S\x01", b"S\x02[]", b'S\x01["\\u0000lc","os.system",["x"]]', b"\x80\x04."]
)
def test_foreign_bytes_are_a_miss(raw: bytes, face: Face) -> None:
    store = MemoryCache()
    step = cached(Counted(), cache=store)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    store.set(step.keeper.step("a", None, {}).key, raw)
    assert face.ask(step, "a") == "a 0"
    assert [event.operation for event in heard if isinstance(event, CacheFailed)] == ["lookup"]
    assert face.ask(step, "a") == "a 0"


def test_a_cluster_lends_its_cache_its_events_and_its_policies(face: Face) -> None:
    llm = ClusteredLLM(
        [Endpoint("e", ScriptedModel())], cache=LayeredCache([MemoryCache()]), agents={"careful": NOT_KEPT}
    )
    search = Counted("one", "two", object())
    step = cached(search, cache=llm)
    heard: list[Any] = []
    llm.cluster.events.subscribe(heard.append)
    assert face.ask(step, "q") == face.ask(step, "q") == "one"
    assert face.ask(step, "q", {"metadata": {"lc_agent_name": "careful"}}) == "two"
    assert llm.cluster.cache.stats().entries == 1
    face.ask(step, "other")
    assert [type(event) for event in heard] == [NotCached]
    assert cached(search, cache=llm.cluster).keeper.store is llm.cluster.cache


def test_the_time_around_it_counts(face: Face) -> None:
    clock = FakeClock()
    step = cached(Counted(), clock=clock)
    with deadline(5, now=clock.now):
        face.ask(step, "q")
        clock.advance(6)
        with pytest.raises(DeadlineExceeded):
            face.ask(step, "q")


class Runs(BaseCallbackHandler):
    """The runs somebody watches, as they begin and end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.tags: list[str] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.told.append(("chain", kwargs["name"]))
        self.tags = kwargs["tags"]

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.told.append(("retriever", kwargs["name"]))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.told.append(("end", outputs))

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.told.append(("end", documents))


def test_each_call_is_one_run_of_the_steps_name(face: Face) -> None:
    step = cached(RunnableLambda(lambda q: f"found {q}", name="search"))
    for expected in ([], ["cache:memory"]):
        runs = Runs()
        face.ask(step, "a", {"callbacks": [runs], "tags": ["mine"]})
        assert runs.told == [("chain", "search"), ("end", "found a")]
        assert runs.tags == ["mine", *expected]
    runs = Runs()
    face.ask(step, "a", {"callbacks": [runs], "run_name": "mine"})
    assert runs.told[0] == ("chain", "mine")


def test_a_retriever_stays_one_to_whoever_watches(runner: asyncio.Runner) -> None:
    step = cached(ScriptedRetriever([Document("sky")]))
    runs = Runs()
    assert step.invoke("q", {"callbacks": [runs]}) == [Document("sky")]
    assert step.invoke("q", {"callbacks": [runs]}) == [Document("sky")]
    assert [what for what, _ in runs.told] == ["retriever", "end", "chain", "end"]
    assert len({name for what, name in runs.told if what != "end"}) == 1


def test_it_has_its_place_in_a_chain() -> None:
    model = ScriptedModel("blue sky")
    prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
    chain = prompt | cached(model) | StrOutputParser()
    assert "".join(chain.stream({"q": "what?"})) == "blue sky"
    assert chain.invoke({"q": "what?"}) == "blue sky"
    assert list(chain.stream({"q": "what?"})) == ["blue sky"]
    assert model.calls == 1


def test_it_looks_like_the_step_it_is_around() -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "{q}")])
    step = cached(prompt)
    assert isinstance(step, CachedRunnable)
    assert step.get_name() == prompt.get_name()
    assert step.get_input_jsonschema() == prompt.get_input_jsonschema()
    assert step.get_output_jsonschema() == prompt.get_output_jsonschema()
    assert (step.InputType, step.OutputType) == (prompt.InputType, prompt.OutputType)
    assert step.config_specs == prompt.config_specs
    assert step.get_graph().nodes.keys() is not None
    assert repr(step) == f"cached({prompt!r})"
    assert repr(cached(Counted(), name="x").keeper) == f"<Keeper of x, {MemoryCache()!r}>"


def test_views_of_it_share_what_is_kept(face: Face) -> None:
    search = Counted()
    step = cached(search)
    assert face.ask(step, "a") == face.ask(step.with_config(run_name="x").with_retry(), "a") == "a 0"


def test_it_can_be_taken_back_by_tag_and_by_tenant(face: Face) -> None:
    store = MemoryCache()
    step = cached(Counted(), cache=store)
    face.ask(step, "a", settings(cache_tags=["prices"]))
    face.ask(step, "b", settings(tenant="ann"))
    assert store.invalidate(tag="prices") == 1
    assert store.invalidate(tenant="ann") == 1
    assert face.ask(step, "a") == "a 2"


def test_what_is_kept_can_be_forgotten(runner: asyncio.Runner) -> None:
    step = cached(Counted())
    assert not step.forget("a")
    assert [step.invoke("a"), step.forget("a"), step.invoke("a")] == ["a 0", True, "a 1"]
    assert runner.run(step.aforget("a"))
    assert not step.forget("a", settings(cache=False))


# -- streams ----------------------------------------------------------------------------------------------


def spoken(*chunks: Any) -> Any:
    """A step that streams, and counts how often it has begun."""
    begun = []

    def speak(inputs: Any) -> Any:
        for _ in inputs:
            pass
        begun.append(1)
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def aspeak(inputs: Any) -> Any:
        async for _ in inputs:
            pass
        begun.append(1)
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    step = cached(RunnableGenerator(speak, aspeak))
    step.begun = begun
    return step


@pytest.fixture(params=["stream", "astream"])
def streaming(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


def test_a_stream_is_handed_on_as_it_comes_and_replayed_whole(streaming: Face) -> None:
    step = spoken("the ", "sky ", "is blue")
    assert streaming.ask(step, "q") == "the sky is blue"
    assert list(step.stream("q")) == ["the sky is blue"]
    assert len(step.begun) == 1


def test_chunks_of_a_message_make_the_message(streaming: Face) -> None:
    step = spoken(AIMessageChunk("the ", id="1"), AIMessageChunk("sky", id="1"))
    assert streaming.ask(step, "q").content == "the sky"
    assert step.invoke("q") == AIMessage("the sky", id="1")
    (replayed,) = step.stream("q")
    assert isinstance(replayed, AIMessageChunk)
    assert len(step.begun) == 1


def test_so_do_the_chunks_of_branches(streaming: Face) -> None:
    step = spoken(AddableDict(a="the "), AddableDict(b=AIMessageChunk("x")), AddableDict(a="sky"))
    assert streaming.ask(step, "q") == {"a": "the sky", "b": AIMessageChunk("x")}
    assert step.invoke("q") == {"a": "the sky", "b": AIMessage("x")}
    assert len(step.begun) == 1


@pytest.mark.parametrize(
    "chunks",
    [([], [1], [1, 2]), ({"a": 1}, {"a": 1, "b": 2}), ("a", 1), (1, 2), (AddableDict(n=1), AddableDict(n=2))],
)
def test_chunks_that_nobody_can_add_up_are_not_kept(chunks: Any, streaming: Face) -> None:
    step = spoken(*chunks)
    heard: list[Any] = []
    step.events.subscribe(heard.append)
    for _ in range(2):
        assert list(step.stream("q")) == list(chunks)
    assert len(step.begun) == 2
    assert {type(event) for event in heard} == {NotCached}


def test_an_empty_stream_keeps_nothing() -> None:
    step = spoken()
    assert list(step.stream("q")) == list(step.stream("q")) == []
    assert len(step.begun) == 2


def test_a_stream_that_breaks_keeps_nothing(streaming: Face) -> None:
    step = spoken("the ", ValueError("broke"))
    for _ in range(2):
        with pytest.raises(ValueError, match="broke"):
            streaming.ask(step, "q")
    assert len(step.begun) == 2


def test_a_stream_that_is_left_keeps_nothing_and_nobody_waits_for_it() -> None:
    step = spoken("the ", "sky")
    chunks = step.stream("q")
    assert next(chunks) == "the "
    chunks.close()
    assert list(step.stream("q")) == ["the ", "sky"]
    assert list(step.stream("q")) == ["the sky"]


async def test_an_awaited_stream_that_is_left_keeps_nothing() -> None:
    step = spoken("the ", "sky")
    chunks = step.astream("q")
    assert await anext(chunks) == "the "
    await chunks.aclose()
    assert [chunk async for chunk in step.astream("q")] == ["the ", "sky"]
    assert [chunk async for chunk in step.astream("q", settings(cache=False))] == ["the ", "sky"]
    assert [chunk async for chunk in step.astream("q")] == ["the sky"]


def test_who_waits_for_a_stream_goes_on_alone_when_its_consumer_pauses() -> None:
    clock = FakeClock(auto=True)

    def speak(inputs: Any) -> Any:
        list(inputs)
        yield from "ab"

    step = cached(RunnableGenerator(speak), clock=clock)
    chunks = step.stream("q")
    assert next(chunks) == "a"
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(step.invoke, "q")
        while not other.done():
            clock.advance(1.0)
        assert other.result() == "ab"
    assert list(chunks) == ["b"]


async def test_of_many_who_wait_for_a_paused_stream_one_works_it_out() -> None:
    clock, worked = FakeClock(), []

    async def speak(inputs: Any) -> Any:
        async for _ in inputs:
            pass
        worked.append("once")
        yield "a"
        yield "b"

    step = cached(RunnableGenerator(speak), clock=clock)
    chunks = step.astream("q")
    assert await anext(chunks) == "a"
    others = [asyncio.create_task(step.ainvoke("q")) for _ in range(20)]
    while not all(other.done() for other in others):
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(1.0)
    assert [await other for other in others] == ["ab"] * 20
    assert len(worked) == 2
    assert [chunk async for chunk in chunks] == ["b"]
