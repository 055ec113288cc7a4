"""What callbacks and tracers are told: a cluster is one run, whatever went on inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.context import collect_runs

from langchain_cluster import ClusteredLLM, Endpoint, Policy
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.endpoints.test_adapter import CountingLimiter
from tests.langchain.alike import Watcher, alike

SAID = "here I am at last"
WORDS = ["here", " I", " am", " at", " last"]


class Runs(BaseTracer):
    """Keeps every finished run, as LangSmith would be sent it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.kept.append(run)


async def ask(model: Any, way: str, config: Any, **arguments: Any) -> Any:
    """A message, of a stream its chunks added up."""
    if way == "invoke":
        return model.invoke("hi", config, **arguments)
    if way == "ainvoke":
        return await model.ainvoke("hi", config, **arguments)
    if way == "stream":
        chunks = list(model.stream("hi", config, **arguments))
    else:
        chunks = [chunk async for chunk in model.astream("hi", config, **arguments)]
    first, *rest = chunks
    for chunk in rest:
        first = first + chunk
    return first


WAYS = ("invoke", "ainvoke", "stream", "astream")


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_starts_and_ends_once_and_tells_each_token_once(
    way: str, llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    ours, theirs = Watcher(), Watcher()
    answer = await ask(llm, way, {"callbacks": [ours]})
    await ask(bare, way, {"callbacks": [theirs]})
    assert answer.text == SAID
    assert [token for token in ours.tokens if token] == (WORDS if "stream" in way else [])
    assert "".join(theirs.tokens) == "".join(ours.tokens)
    assert ours.told[0] == "start"
    assert ours.told[-1] == "end"
    assert set(ours.told[1:-1]) <= {"token"}
    (result,) = ours.results
    assert result.generations[0][0].text == SAID
    assert (
        result.generations[0][0].message.usage_metadata
        == theirs.results[0].generations[0][0].message.usage_metadata
    )


@pytest.mark.parametrize("way", WAYS)
async def test_what_came_of_it_is_told_as_by_a_bare_model(
    way: str, llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    ours, theirs = Watcher(), Watcher()
    await ask(llm, way, {"callbacks": [ours]})
    await ask(bare, way, {"callbacks": [theirs]})
    (mine,), (other,) = alike(ours.results), alike(theirs.results)
    assert mine == other


@pytest.mark.parametrize("way", WAYS)
async def test_a_failure_is_told_once(way: str, endpoints: list[Endpoint], server: SimulatedServer) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints, policy=Policy(attempts=3))
    watcher = Watcher()
    with pytest.raises(Exception) as failure:
        await ask(llm, way, {"callbacks": [watcher]})
    assert watcher.told == ["start", "error"]
    assert watcher.errors == [failure.value]
    assert server.count() == 3


@pytest.mark.parametrize("way", WAYS)
async def test_a_failover_is_not_told_as_a_run(
    way: str, llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    server.fail(faults.Status(503), times=1)
    watcher = Watcher()
    answer = await ask(llm, way, {"callbacks": [watcher]})
    assert answer.response_metadata["cluster"]["attempts"] == 2
    assert (watcher.told.count("start"), watcher.told.count("end"), watcher.told.count("error")) == (1, 1, 0)
    assert "".join(watcher.tokens) == (SAID if "stream" in way else "")


@pytest.mark.parametrize("way", WAYS)
async def test_a_hit_is_a_run_too(
    way: str, server: SimulatedServer, says: Callable[[Any], None], models: Any
) -> None:
    says(SAID)
    llm = ClusteredLLM([Endpoint("gpu-1", models["gpu-1"])], cache=True)
    await ask(llm, way, None)
    watcher = Watcher()
    answer = await ask(llm, way, {"callbacks": [watcher]})
    assert answer.response_metadata["cluster"]["cache"] == "memory"
    assert (watcher.told[0], watcher.told[-1]) == ("start", "end")
    assert watcher.told.count("end") == 1
    assert "".join(watcher.tokens) == (SAID if "stream" in way else "")
    assert server.count() == 1


@pytest.mark.parametrize("way", WAYS)
async def test_where_an_answer_came_from_is_on_one_chunk(
    way: str, llm: ClusteredLLM, says: Callable[[Any], None]
) -> None:
    says(SAID)
    answer = await ask(llm, way, None)
    where = answer.response_metadata["cluster"]
    assert set(where) == {"endpoint", "attempts", "cache", "tier", "hedged", "seconds", "cost_usd"}
    assert where["endpoint"] in ("gpu-1", "gpu-2", "gpu-3")
    assert (where["attempts"], where["cache"], where["hedged"]) == (1, "off", False)


async def test_the_models_own_callbacks_are_told_too(
    endpoints: list[Endpoint], says: Callable[[Any], None]
) -> None:
    says(SAID)
    own, per_call = Watcher(), Watcher()
    llm = ClusteredLLM(endpoints, callbacks=[own], tags=["mine"], metadata={"team": "a"}, name="named")
    llm.invoke("hi", {"callbacks": [per_call]})
    await llm.ainvoke("hi")
    assert own.told == ["start", "end"] * 2
    assert per_call.told == ["start", "end"]
    assert own.metadata[0]["team"] == "a"
    assert own.serialized[0]["name"] == "named"


# -- tracers ----------------------------------------------------------------------------------------


def test_tracers_are_told_what_kind_of_model_it_is(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says(SAID)
    watcher = Watcher()
    llm.bind(temperature=0.5, max_tokens=9, stop=["x"]).invoke("hi", {"callbacks": [watcher]})
    (told,) = watcher.metadata
    assert {name: value for name, value in told.items() if name.startswith("ls_")}.items() >= {
        "ls_provider": "cluster",
        "ls_model_type": "chat",
        "ls_model_name": "m",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["x"],
    }.items()


def test_tracers_are_told_of_as_much_as_a_bare_model_tells(
    llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    ours, theirs = Watcher(), Watcher()
    llm.bind(temperature=0.5).invoke("hi", {"callbacks": [ours]})
    bare.bind(temperature=0.5).invoke("hi", {"callbacks": [theirs]})
    named = {name for name in theirs.metadata[0] if name.startswith("ls_")}
    assert named <= set(ours.metadata[0]) | {"ls_integration"}


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_of_ours_or_secret_is_in_what_tracers_are_told(
    way: str, endpoints: list[Endpoint], says: Callable[[Any], None]
) -> None:
    says(SAID)
    llm = ClusteredLLM(endpoints, temperature=0.5)
    runs, watcher = Runs(), Watcher()
    await ask(llm, way, {"callbacks": [runs, watcher], "configurable": {"cluster": {"tenant": "acme"}}})
    (run,) = runs.kept
    told = repr(
        (run.model_dump() if hasattr(run, "model_dump") else run.dict(), watcher.params, watcher.options)
    )
    for word in ("_cluster_scope", "Scope object", "traceparent", "api_key", "extra_headers"):
        assert word not in told
    assert watcher.params[0]["_type"] == "langchain-cluster"
    assert watcher.params[0]["temperature"] == 0.5
    assert run.run_type == "llm"
    assert run.name == "ClusteredLLM"


async def test_a_run_keeps_its_name_id_tags_and_metadata(
    llm: ClusteredLLM, says: Callable[[Any], None]
) -> None:
    says(SAID)
    for way in WAYS:
        runs, id = Runs(), uuid4()
        config: Any = {
            "callbacks": [runs], "run_id": id, "run_name": "named", "tags": ["t"], "metadata": {"a": 1},
        }  # fmt: skip
        answer = await ask(llm, way, config)
        (run,) = runs.kept
        assert (run.id, run.name, run.tags) == (id, "named", ["t"])
        assert run.extra["metadata"]["a"] == 1
        assert answer.id.startswith("chatcmpl-") or str(id) in answer.id


async def test_the_id_of_a_message_is_that_of_its_run_or_of_the_provider(
    llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    for way in WAYS:
        id = uuid4()
        ours, theirs = [await ask(model, way, {"run_id": id}) for model in (llm, bare)]
        assert (ours.id == f"lc_run--{id}") == (theirs.id == f"lc_run--{id}"), way
        assert ours.id.partition("-")[0] == theirs.id.partition("-")[0], way


async def test_a_chain_is_one_tree_with_one_model_in_it(
    llm: ClusteredLLM, says: Callable[[Any], None]
) -> None:
    says(SAID)
    chain = ChatPromptTemplate([("user", "{q}")]) | llm | StrOutputParser()
    with collect_runs() as kept:
        chain.invoke({"q": "hi"})
        await chain.ainvoke({"q": "hi"})
        list(chain.stream({"q": "hi"}))
    for run in kept.traced_runs:
        assert [child.run_type for child in run.child_runs] == ["prompt", "llm", "parser"]


@pytest.mark.parametrize("way", WAYS)
async def test_structured_output_is_marked_on_exactly_one_start(
    way: str, llm: ClusteredLLM, bare: BaseChatModel, server: SimulatedServer
) -> None:
    schema = {
        "title": "joke",
        "type": "object",
        "properties": {"setup": {"type": "string"}},
        "description": "A joke.",
        "required": ["setup"],
    }
    for method in ("function_calling", "json_schema", "json_mode"):
        ours, theirs = Watcher(), Watcher()
        for model, watcher in ((llm, ours), (bare, theirs)):
            structured: Any = model.with_structured_output(schema, method=method)
            answer: Any = None
            config: Any = {"callbacks": [watcher]}
            said = "tell, as JSON with a 'setup' key"
            if way == "invoke":
                answer = structured.invoke(said, config)
            elif way == "ainvoke":
                answer = await structured.ainvoke(said, config)
            elif way == "stream":
                answer = list(structured.stream(said, config))[-1]
            else:
                answer = [part async for part in structured.astream(said, config)][-1]
            assert answer["setup"]
        ours_told, theirs_told = (
            [metadata for metadata in watcher.metadata if "ls_structured_output_format" in metadata]
            + [options for options in watcher.options if "ls_structured_output_format" in options]
            for watcher in (ours, theirs)
        )
        assert len(ours.metadata) == 1
        assert len(ours_told) == len(theirs_told)


# -- LangChain's own cache ----------------------------------------------------------------------------


class Refuses:
    """A LangChain cache that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"LangChain's cache was asked to {name}")


async def test_a_global_cache_does_not_answer_before_the_cluster(
    llm: ClusteredLLM, says: Callable[[Any], None]
) -> None:
    says(SAID)
    before = get_llm_cache()
    cache: Any = Refuses()
    set_llm_cache(cache)
    try:
        for way in WAYS:
            for config in (None, {"callbacks": [Watcher()]}):
                assert (await ask(llm, way, config)).text == SAID
    finally:
        set_llm_cache(before)


# -- faces that go round invoke ------------------------------------------------------------------------


async def test_generate_and_its_like(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says(SAID)
    asked = [[HumanMessage("hi")], [HumanMessage("ho")]]
    whole = llm.generate(asked)
    assert [given[0].text for given in whole.generations] == [SAID, SAID]
    awaited = await llm.agenerate(asked)
    assert [given[0].text for given in awaited.generations] == [SAID, SAID]
    assert llm.generate_prompt([StringPromptValue(text="hi")]).generations[0][0].text == SAID
    with pytest.raises(Exception, match="unknown key"):
        llm.invoke("hi", {"configurable": {"cluster": {"tenat": "a"}}})


async def test_a_model_that_must_stream_when_invoked(
    endpoints: list[Endpoint], server: SimulatedServer
) -> None:
    llm = ClusteredLLM(endpoints, streaming=True)
    assert llm.invoke("hi").text.endswith("says: hi")
    for way in ("invoke", "ainvoke"):
        watcher = Watcher()
        answer = await ask(llm, way, {"callbacks": [watcher]})
        assert "".join(watcher.tokens) == answer.text, "each token is told once"
    assert [seen.stream for seen in server.seen()] == [True, True, True]


async def test_whoever_hands_a_run_manager_in_is_told_each_token_once(
    llm: ClusteredLLM, says: Callable[[Any], None]
) -> None:
    """LangChain itself tells the tokens, and hands none in; a model around this one may."""
    says(SAID)
    given: dict[str, Any] = {"run_id": uuid4(), "inheritable_handlers": []}
    ours, awaited = Watcher(), Watcher()
    list(llm._stream([HumanMessage("hi")], run_manager=CallbackManagerForLLMRun(handlers=[ours], **given)))
    manager = AsyncCallbackManagerForLLMRun(handlers=[awaited], **given)
    [chunk async for chunk in llm._astream([HumanMessage("hi")], run_manager=manager)]
    for watcher in (ours, awaited):
        assert [token for token in watcher.tokens if token] == WORDS


async def test_a_model_that_must_not_stream(endpoints: list[Endpoint], server: SimulatedServer) -> None:
    for given in ({"disable_streaming": True}, {"streaming": False}):
        llm = ClusteredLLM(endpoints, **given)
        assert len([chunk for chunk in llm.stream("hi") if chunk.text]) == 1
        assert len([chunk async for chunk in llm.astream("hi") if chunk.text]) == 1
    assert not any(seen.stream for seen in server.seen())


async def test_a_rate_limiter_of_the_cluster_is_asked_once_per_call() -> None:
    limiter = CountingLimiter()
    llm = ClusteredLLM(
        [Endpoint("a", ScriptedModel(TimeoutError(), "a")), Endpoint("b", ScriptedModel("b"))],
        rate_limiter=limiter,
    )
    for number, way in enumerate(WAYS, 1):
        await ask(llm, way, None)
        assert limiter.acquired == number
