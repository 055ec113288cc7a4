"""The exact cache through every face: what is asked twice is answered once, whole and one's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import CacheFailed, CallEnded
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from langchain_cluster.testing.simulated import ToolCall
from tests.faces.faces import NAMES, Face, Heard, at_rest, cluster_of, text_of

Models = Callable[[str], Any]
PLAIN = NAMES[:4]
TOGETHER = 50


@pytest.fixture(params=NAMES, ids=lambda name: f"then-{name.replace(' ', '-')}")
def again(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    """A second face, for who asks next."""
    return Face(request.param, runner)


def cached(*models: Any, **options: Any) -> ClusteredLLM:
    return ClusteredLLM(
        [Endpoint(f"e{n}", model) for n, model in enumerate(models)], cache=MemoryCache(), **options
    )


def get_weather(city: str) -> str:
    """The weather of a city."""
    return city


def test_whatever_one_face_was_answered_every_face_is(
    plain_face: Face, again: Face, server: SimulatedServer, model: Models
) -> None:
    llm = cached(model("cached"))
    first = plain_face.ask(llm, "hello there")
    second = again.ask(llm, "hello there")
    assert server.count("cached") == 1
    assert text_of(first) == text_of(second) == "cached says: hello there"
    assert first.id != second.id
    assert second.id
    assert cluster_of(first)["cache"] == "miss"
    hit = cluster_of(second)
    assert (hit["cache"], hit["endpoint"], hit["attempts"], hit["cost_usd"]) == ("memory", None, 0, 0.0)
    for count in ("input_tokens", "output_tokens", "total_tokens"):
        assert second.usage_metadata[count] == first.usage_metadata[count]
    reason = "finish_reason" if "finish_reason" in first.response_metadata else "stop_reason"
    assert second.response_metadata[reason] == first.response_metadata[reason]
    if again.watched:
        assert (again.watcher.started, again.watcher.ended) == (1, 1)
    assert at_rest(llm, server)


def test_a_reader_may_change_its_message_and_nobody_else_sees_it(face: Face) -> None:
    llm = cached(ScriptedModel("the answer"))
    for _ in range(3):
        message = face.ask(llm, "hello")
        assert message.content == "the answer"
        assert "spoilt" not in message.response_metadata
        assert "spoilt" not in message.additional_kwargs
        assert not message.tool_calls
        message.content = "spoilt"
        message.response_metadata["spoilt"] = True
        message.response_metadata["cluster"]["endpoint"] = "spoilt"
        message.additional_kwargs["spoilt"] = True
        message.tool_calls.append({"name": "spoilt", "args": {}, "id": "1"})
    assert llm.cluster.stats()["cache_hits"] == 2


def test_a_call_is_counted_once_and_a_hit_tells_its_tokens(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    llm = cached(openai("counted"))

    def counted() -> Any:
        with get_usage_metadata_callback() as usage:
            face.ask(llm, "hello there")
        return usage.usage_metadata["m"]

    first, hit = counted(), counted()
    assert first["input_tokens"] == 2
    assert first["output_tokens"] == 4
    assert (hit["input_tokens"], hit["output_tokens"]) == (2, 4)
    assert server.count("counted") == 1


def test_a_refresh_asks_again_and_replaces_what_is_kept(face: Face) -> None:
    llm = cached(ScriptedModel("old", "new"))
    refresh = {"configurable": {"cluster": {"cache": "refresh"}}}
    assert text_of(face.ask(llm, "hello")) == "old"
    renewed = face.ask(llm, "hello", refresh)
    assert (text_of(renewed), cluster_of(renewed)["cache"]) == ("new", "miss")
    assert text_of(face.ask(llm, "hello")) == "new"


def test_a_call_without_the_cache_neither_reads_nor_writes(face: Face) -> None:
    model = ScriptedModel("one", "two", "three")
    llm = cached(model)
    off = {"configurable": {"cluster": {"cache": False}}}
    first = face.ask(llm, "hello", off)
    assert (text_of(first), cluster_of(first)["cache"]) == ("one", "off")
    assert text_of(face.ask(llm, "hello")) == "two"
    assert text_of(face.ask(llm, "hello", off)) == "three"


def test_tenants_do_not_see_each_others_answers(face: Face) -> None:
    llm = cached(ScriptedModel("for acme", "for globex", "for nobody"))
    acme = {"configurable": {"cluster": {"tenant": "acme"}}}
    globex = {"configurable": {"cluster": {"tenant": "globex"}}}
    for _ in range(2):
        assert text_of(face.ask(llm, "hello", acme)) == "for acme"
        assert text_of(face.ask(llm, "hello", globex)) == "for globex"
        assert text_of(face.ask(llm, "hello")) == "for nobody"


@pytest.mark.parametrize(
    "other",
    [
        lambda face, llm: face.ask(llm, "hello", stop=["###"]),
        lambda face, llm: face.ask(llm, "hello", max_tokens=5),
        lambda face, llm: face.ask(llm, "hello", temperature=0.0),
        lambda face, llm: face.ask(llm, "hello", seed=1),
        lambda face, llm: face.ask(llm, "hello", model="another"),
        lambda face, llm: face.ask(llm.bind_tools([get_weather]), "hello"),
        lambda face, llm: face.ask(llm.bind(response_format={"type": "json_object"}), "hello"),
        lambda face, llm: face.ask(llm, "hello "),
        lambda face, llm: face.ask(llm, "Hello"),
        lambda face, llm: face.ask(llm, [("system", "be brief"), ("human", "hello")]),
        lambda face, llm: face.ask(llm, [HumanMessage("hello", name="ann")]),
        lambda face, llm: face.ask(llm, [AIMessage("hello")]),
    ],
    ids=[
        "stop", "max_tokens", "temperature", "seed", "model", "tools", "format", "space", "case",
        "system", "name", "role",
    ],
)  # fmt: skip
def test_another_question_is_another_key(other: Any, face: Face) -> None:
    model = ScriptedModel("first", "second")
    llm = cached(model)
    assert text_of(face.ask(llm, "hello")) == "first"
    assert text_of(other(face, llm)) == "second"
    assert text_of(other(face, llm)) == "second"
    assert text_of(face.ask(llm, "hello")) == "first"
    assert model.calls == 2


@pytest.mark.parametrize(
    "noise",
    [{"timeout": 5}, {"extra_headers": {"x": "1"}}, {"user": "ann"}],
    ids=lambda noise: next(iter(noise)),
)
def test_what_does_not_change_an_answer_does_not_change_its_key(noise: Any, face: Face) -> None:
    model = ScriptedModel("first", "second")
    llm = cached(model)
    assert text_of(face.ask(llm, "hello")) == "first"
    assert text_of(face.ask(llm, "hello", **noise)) == "first"


def test_a_conversation_that_is_replayed_hits_at_every_turn(face: Face) -> None:
    model = ScriptedModel("hi", "fine", "bye", "never")
    llm = cached(model)

    def converse() -> list[str]:
        history: list[Any] = []
        for text in ("hello", "how are you", "good bye"):
            history.append(HumanMessage(text))
            history.append(face.ask(llm, history))
        return [m.content for m in history[1::2]]

    # Answers come back with new ids, other metadata and other classes: none of that is the question.
    assert converse() == converse() == ["hi", "fine", "bye"]
    assert model.calls == 3


@pytest.mark.parametrize("where", ["the call", "the model", "the endpoint", "its binding"])
def test_who_asks_for_chance_is_not_answered_from_the_cache(
    where: str, face: Face, server: SimulatedServer, openai: Models
) -> None:
    model, arguments, options = openai("chance"), {}, {}
    if where == "the call":
        arguments = {"temperature": 0.7}
    elif where == "the model":
        options = {"temperature": 0.7}
    elif where == "the endpoint":
        model = openai("chance").model_copy(update={"temperature": 0.7})
    else:
        model = openai("chance").bind(temperature=0.7)
    llm = cached(model, **options)
    for _ in range(2):
        assert cluster_of(face.ask(llm, "hello", **arguments))["cache"] == "off"
    assert server.count("chance") == 2
    asked = {"configurable": {"cluster": {"cache": True}}}
    assert cluster_of(face.ask(llm, "hello", asked, **arguments))["cache"] == "miss"
    assert cluster_of(face.ask(llm, "hello", asked, **arguments))["cache"] == "memory"


def test_chance_that_the_call_takes_back_is_none(face: Face, server: SimulatedServer, openai: Models) -> None:
    llm = cached(openai("chance").model_copy(update={"temperature": 0.7}))
    assert cluster_of(face.ask(llm, "hello", temperature=0))["cache"] == "miss"
    assert cluster_of(face.ask(llm, "hello", temperature=0))["cache"] == "memory"


def test_an_answer_with_tool_calls_is_not_kept(face: Face, server: SimulatedServer, model: Models) -> None:
    server.behave("tools", reply=ToolCall("get_weather", {"city": "Paris"}))
    llm = cached(model("tools"))
    for n in (1, 2):
        message = face.ask(llm.bind_tools([get_weather]), "weather in Paris?")
        assert [call["name"] for call in message.tool_calls] == ["get_weather"]
        assert server.count("tools") == n
    assert llm.cluster.cache.stats().sets == 0


@pytest.mark.parametrize("asked", ["policy", "cache", "agent", "call"])
def test_an_answer_with_tool_calls_is_kept_for_agents_and_who_asks_for_it(
    asked: str, face: Face, again: Face, server: SimulatedServer, model: Models
) -> None:
    server.behave("tools", reply=ToolCall("get_weather", {"city": "Paris"}))
    policy = {"policy": Policy(cache_tool_calls=True), "cache": Policy(cache=True)}.get(asked)
    llm = cached(model("tools"), policy=policy) if policy else cached(model("tools"))
    asking = (llm.for_agent("planner") if asked == "agent" else llm).bind_tools([get_weather])
    config: Any = {"configurable": {"cluster": {"cache": True}}} if asked == "call" else None
    first, second = (one.ask(asking, "weather in Paris?", config) for one in (face, again))
    assert server.count("tools") == 1
    assert cluster_of(second)["cache"] == "memory"
    assert first.tool_calls == second.tool_calls
    assert [call["name"] for call in second.tool_calls] == ["get_weather"]
    assert not second.invalid_tool_calls


def test_an_agent_may_be_told_not_to_keep_answers_with_tool_calls(
    face: Face, server: SimulatedServer, model: Models
) -> None:
    server.behave("tools", reply=ToolCall("get_weather", {"city": "Paris"}))
    llm = cached(model("tools")).for_agent("planner", cache_tool_calls=False)
    for n in (1, 2):
        face.ask(llm.bind_tools([get_weather]), "weather in Paris?")
        assert server.count("tools") == n


def test_a_form_filled_in_is_kept_though_it_is_a_tool_call(
    face: Face, again: Face, server: SimulatedServer, model: Models
) -> None:
    server.behave("form", reply=ToolCall("Report", {"city": "Paris"}))
    schema = {"title": "Report", "type": "object", "properties": {"city": {"type": "string"}}}
    llm = cached(model("form")).with_structured_output(
        {**schema, "description": "A report."}, include_raw=True
    )
    for one in (face, again):
        assert one.ask(llm, "report on Paris")["parsed"] == {"city": "Paris"}
    assert server.count("form") == 1


def test_an_answer_cut_at_its_limit_is_not_kept(face: Face, server: SimulatedServer, model: Models) -> None:
    llm = cached(model("cut"))
    for n in (1, 2):
        assert text_of(face.ask(llm, "hello there my friend", max_tokens=3)) == "cut says: hello"
        assert server.count("cut") == n
    assert llm.cluster.cache.stats().sets == 0


@pytest.mark.parametrize("reason", ["length", "content_filter", "max_tokens", "refusal"])
def test_an_answer_that_says_it_is_not_whole_is_not_kept(reason: str, face: Face) -> None:
    llm = cached(ScriptedModel(AIMessage("half an ans", response_metadata={"finish_reason": reason})))
    face.ask(llm, "hello")
    assert llm.cluster.cache.stats().sets == 0


@pytest.mark.parametrize("fault", [faults.ContentFilter(finish=True), faults.Status(400)], ids=repr)
def test_a_refusal_is_not_kept(fault: Any, face: Face, server: SimulatedServer, openai: Models) -> None:
    server.fail(fault, endpoint="refusing", times=1)
    llm = cached(openai("refusing"))
    with nullcontext() if fault.__class__ is faults.ContentFilter else pytest.raises(Exception, match="400"):
        face.ask(llm, "hello")
    message = face.ask(llm, "hello")
    assert cluster_of(message)["cache"] == "miss"
    assert text_of(message) == "refusing says: hello"


@pytest.mark.parametrize("name", ["stream", "astream"])
def test_half_an_answer_is_not_kept(
    name: str, runner: asyncio.Runner, server: SimulatedServer, openai: Models
) -> None:
    face = Face(name, runner)
    server.fail(faults.CutAfter(2), endpoint="halved", times=1)
    llm = cached(openai("halved"))
    with pytest.raises(Exception, match="broke after its first token"):
        face.ask(llm, "hello there")
    assert text_of(face.ask(llm, "hello there")) == "halved says: hello there"
    assert server.count("halved") == 2


def test_a_stream_left_early_is_not_kept(runner: asyncio.Runner) -> None:
    model = ScriptedModel("one two three four")
    llm = cached(model)
    stream = llm.stream("hello")
    next(stream)
    stream.close()
    assert llm.invoke("hello").content == "one two three four"
    assert model.calls == 2


def test_endpoints_of_one_model_answer_for_each_other_and_others_do_not(face: Face) -> None:
    # Twins by name and settings; the third is another model.
    twins = [ScriptedModel("twin", model_name="m"), ScriptedModel("twin", model_name="m")]
    other = ScriptedModel("other", model_name="n")
    llm = ClusteredLLM(
        [Endpoint("a", twins[0]), Endpoint("b", twins[1]), Endpoint("c", other, tier="other")],
        cache=MemoryCache(),
    )

    def ask(tier: str) -> str:
        return text_of(face.ask(llm, "hello", {"configurable": {"cluster": {"tier": tier}}}))

    assert [ask("default") for _ in range(5)] == ["twin"] * 5
    assert twins[0].calls + twins[1].calls == 1
    assert [ask("other") for _ in range(2)] == ["other"] * 2
    assert other.calls == 1


# -- identical calls at one time ------------------------------------------------------------------------


def fifty(name: str, llm: ClusteredLLM, runner: asyncio.Runner) -> list[Any]:
    """The answers of fifty who ask the same at the same time."""
    if name.startswith("a"):

        async def ask() -> Any:
            if name == "ainvoke":
                return await llm.ainvoke("hello")
            return "".join([c.content async for c in llm.astream("hello")])

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(ask() for _ in range(TOGETHER)))

        return runner.run(all_of_them())
    barrier = threading.Barrier(TOGETHER)

    def ask_blocking(_: int) -> Any:
        barrier.wait()
        if name == "invoke":
            return llm.invoke("hello")
        return "".join(c.content for c in llm.stream("hello"))

    with ThreadPoolExecutor(TOGETHER) as threads:
        return list(threads.map(ask_blocking, range(TOGETHER)))


@pytest.mark.parametrize("name", PLAIN)
def test_fifty_identical_calls_are_one(name: str, runner: asyncio.Runner) -> None:
    model = ScriptedModel("the whole answer", delay=0.3)
    llm = cached(model)
    heard = Heard(llm)
    answers = fifty(name, llm, runner)
    texts = [a if isinstance(a, str) else a.content for a in answers]
    assert texts == ["the whole answer"] * TOGETHER
    assert model.calls == 1
    sources = [event.answer.source for event in heard.of(CallEnded)]
    assert (sources.count("miss"), sources.count("memory")) == (1, TOGETHER - 1)
    if name.endswith("invoke"):
        assert len({id(a) for a in answers}) == len({a.id for a in answers}) == TOGETHER, "each its own"
    assert at_rest(llm)


@pytest.mark.parametrize("name", PLAIN)
def test_fifty_identical_calls_are_one_even_when_nothing_can_be_kept(
    name: str, runner: asyncio.Runner
) -> None:
    model = ScriptedModel("the whole answer", delay=0.3)
    llm = ClusteredLLM([Endpoint("e", model)], cache=Broken())
    answers = fifty(name, llm, runner)
    assert [a if isinstance(a, str) else a.content for a in answers] == ["the whole answer"] * TOGETHER
    assert model.calls == 1


@pytest.mark.parametrize("leader", ["ainvoke", "astream"])
@pytest.mark.parametrize("follower", ["ainvoke", "astream"])
async def test_who_waits_gets_an_answer_though_the_one_who_asks_leaves(leader: str, follower: str) -> None:
    model = ScriptedModel("the answer", delay=0.15)
    llm = cached(model)

    async def ask(name: str) -> str:
        if name == "ainvoke":
            return str((await llm.ainvoke("hello")).content)
        return "".join([c.content async for c in llm.astream("hello")])

    first = asyncio.create_task(ask(leader))
    await asyncio.sleep(0.03)
    others = [asyncio.create_task(ask(follower)) for _ in range(5)]
    await asyncio.sleep(0.03)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await asyncio.gather(*others) == ["the answer"] * 5
    assert at_rest(llm)


async def test_who_waits_for_a_consumer_that_dawdles_goes_on_alone() -> None:
    model = ScriptedModel("one two three")
    llm = cached(model, policy=Policy(timeout=0.6))
    leader = llm.astream("hello")
    await anext(leader)  # and does not come back for more
    assert (await llm.ainvoke("hello")).content == "one two three"
    assert model.calls == 2
    await leader.aclose()
    assert at_rest(llm)


@pytest.mark.parametrize("name", PLAIN)
def test_a_failure_is_shared_but_not_kept(name: str, runner: asyncio.Runner) -> None:
    def fail(_: Any) -> Any:
        return ConnectionError("down") if model.calls < 3 else "well again"

    model = ScriptedModel(fail)
    llm = cached(model, policy=Policy(attempts=1))
    face = Face(name, runner)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            face.ask(llm, "hello")
    assert text_of(face.ask(llm, "hello")) == "well again"


# -- a cache that is broken -----------------------------------------------------------------------------


class Broken(MemoryCache):
    """Raises at every touch, as a store behind a network does when it is away."""

    def get(self, key: str) -> Any:
        raise ConnectionError("the cache is away")

    def mget(self, keys: Any) -> Any:
        raise ConnectionError("the cache is away")

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        raise ConnectionError("the cache is away")

    async def aget(self, key: str) -> Any:
        raise ConnectionError("the cache is away")

    async def amget(self, keys: Any) -> Any:
        raise ConnectionError("the cache is away")

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        raise ConnectionError("the cache is away")


class Garbage(MemoryCache):
    """Holds what this library never wrote."""

    def get(self, key: str) -> Any:
        return b"\x80\x04\x95 a pickle of somebody's"

    async def aget(self, key: str) -> Any:
        return self.get(key)


def test_a_broken_cache_is_a_miss_and_an_event(face: Face) -> None:
    model = ScriptedModel("the answer")
    llm = ClusteredLLM([Endpoint("e", model)], cache=Broken())
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert (text_of(message), cluster_of(message)["cache"]) == ("the answer", "miss")
    assert [(e.operation, e.error) for e in heard.of(CacheFailed)] == [
        ("lookup", "ConnectionError"),
        ("store", "ConnectionError"),
    ]


def test_bytes_that_are_no_answer_are_a_miss_and_an_event(face: Face) -> None:
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("the answer"))], cache=Garbage())
    heard = Heard(llm)
    assert text_of(face.ask(llm, "hello")) == "the answer"
    assert [(e.operation, e.error) for e in heard.of(CacheFailed)] == [("lookup", "ValueError")]


@pytest.mark.parametrize("name", ["cache", "semantic_cache"])
def test_the_class_of_a_cache_is_not_a_cache(name: str) -> None:
    given: Any = {name: MemoryCache}
    with pytest.raises(ConfigError, match=r"MemoryCache is a class: give MemoryCache\(\.\.\.\)"):
        ClusteredLLM([Endpoint("e", ScriptedModel())], **given)


def test_a_cache_that_is_none_is_told_so() -> None:
    with pytest.raises(Exception, match="is no CacheStore"):
        ClusteredLLM([Endpoint("e", ScriptedModel())], cache={})


def test_another_temperature_of_an_endpoint_is_another_answer(
    server: SimulatedServer,
) -> None:
    model = ChatOpenAI(base_url=server.openai_url("warm"), model="m", api_key="-", max_tokens=50)
    llm = cached(model)
    llm.invoke("hello")
    assert cluster_of(llm.invoke("hello"))["cache"] == "memory"
    model.max_tokens = 60
    assert cluster_of(llm.invoke("hello"))["cache"] == "miss"


def test_a_message_has_an_id_of_its_own_that_is_a_uuid(plain_face: Face) -> None:
    llm = cached(ScriptedModel("one"))
    ids = [plain_face.ask(llm, "hello").id for _ in range(50)]
    assert len(set(ids)) == 50
    for id in ids:
        made = UUID(id.removeprefix("lc_run--")[:36])
        assert made.variant == RFC_4122
