"""`prompt | llm | parser`, and what else LangChain makes of a Runnable, with the cluster as the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableField, RunnableParallel
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_cluster import ClusteredLLM, ClusterExhausted, Endpoint, Policy
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.langchain.alike import Watcher

PROMPT = ChatPromptTemplate([("system", "Be brief."), ("user", "{question}")])
ASKED = {"question": "where are you"}
SAID = "here I am at last"


def chain(model: Any) -> Any:
    return PROMPT | model | StrOutputParser()


async def test_a_chain_in_every_way(any_model: BaseChatModel, says: Callable[[Any], None]) -> None:
    says(SAID)
    made = chain(any_model)
    assert made.invoke(ASKED) == SAID
    assert await made.ainvoke(ASKED) == SAID
    words = [token for token in made.stream(ASKED) if token]
    assert words == [token async for token in made.astream(ASKED) if token]
    assert words == ["here", " I", " am", " at", " last"]
    assert made.batch([ASKED, ASKED]) == [SAID, SAID]
    assert await made.abatch([ASKED, ASKED]) == [SAID, SAID]


def test_models_side_by_side(any_model: BaseChatModel, says: Callable[[Any], None]) -> None:
    says(SAID)
    both = RunnableParallel(a=chain(any_model), b=chain(any_model.bind(temperature=0.5)))
    assert both.invoke(ASKED) == {"a": SAID, "b": SAID}


# -- batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_batch_keeps_to_its_concurrency(at_once: int, llm: ClusteredLLM, server: SimulatedServer) -> None:
    server.behave(latency=0.02)
    try:
        questions = [f"number {number}" for number in range(9)]
        answers = llm.batch(questions, config={"max_concurrency": at_once})
    finally:
        server.behave(latency=0.0)
    assert [answer.text.partition(": ")[2] for answer in answers] == questions, (
        "in the order of the questions"
    )
    seen = server.seen()
    assert overlap(seen) <= at_once
    assert server.count() == 9


async def test_an_awaited_batch_keeps_to_its_concurrency(llm: ClusteredLLM, server: SimulatedServer) -> None:
    server.behave(latency=0.02)
    try:
        questions = [f"number {number}" for number in range(12)]
        answers = await llm.abatch(questions, config={"max_concurrency": 4})
    finally:
        server.behave(latency=0.0)
    assert [answer.text.partition(": ")[2] for answer in answers] == questions
    assert 1 < overlap(server.seen()) <= 4


def overlap(seen: list[Any]) -> int:
    """The most requests that were open at one time."""
    turns = sorted(
        [(s.at, 1) for s in seen] + [(s.at + s.seconds, -1) for s in seen if s.seconds is not None]
    )
    most = now = 0
    for _, change in turns:
        now += change
        most = max(most, now)
    return most


def test_a_batch_hands_out_errors_in_their_place(endpoints: list[Endpoint], server: SimulatedServer) -> None:
    llm = ClusteredLLM(endpoints, policy=Policy(attempts=1))
    server.fail(faults.Status(400), times=1, after=1)
    answers = llm.batch(["a", "b", "c"], config={"max_concurrency": 1}, return_exceptions=True)
    kinds = [isinstance(answer, Exception) for answer in answers]
    assert kinds == [False, True, False]


async def test_answers_as_they_are_completed(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says(SAID)
    assert sorted(place for place, _ in llm.batch_as_completed(["a", "b", "c"])) == [0, 1, 2]
    assert sorted([place async for place, _ in llm.abatch_as_completed(["a", "b", "c"])]) == [0, 1, 2]


# -- what a call cost -------------------------------------------------------------------------------


async def test_usage_is_counted_once_per_call(
    llm: ClusteredLLM, bare: BaseChatModel, says: Callable[[Any], None]
) -> None:
    says(SAID)
    totals = []
    for model in (llm, bare):
        with get_usage_metadata_callback() as counted:
            made = chain(model)
            made.invoke(ASKED)
            await made.ainvoke(ASKED)
            list(made.stream(ASKED))
            [token async for token in made.astream(ASKED)]
            made.batch([ASKED, ASKED])
        totals.append(counted.usage_metadata)
    assert totals[0] == totals[1]
    assert totals[0]["m"]["output_tokens"] == 6 * 5
    assert totals[0]["m"]["input_tokens"] == 6 * 5


async def test_usage_is_counted_once_though_an_endpoint_failed(
    llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    server.fail(faults.Status(503), times=1)
    with get_usage_metadata_callback() as counted:
        assert llm.invoke("hi").response_metadata["cluster"]["attempts"] == 2
        server.fail(faults.ResetAfter(0), times=1)
        list(llm.stream("hi"))
    assert counted.usage_metadata["m"]["output_tokens"] == 2 * 5


async def test_a_hit_is_told_and_costs_nothing(
    endpoints: list[Endpoint], server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    llm = ClusteredLLM([Endpoint("gpu-1", endpoints[0].model)], cache=True)
    first = llm.invoke("hi")
    hits = [llm.invoke("hi"), await llm.ainvoke("hi")]
    for hit in hits:
        assert hit.text == first.text
        assert hit.response_metadata["cluster"]["cache"] == "memory"
        assert hit.response_metadata["cluster"]["cost_usd"] == 0.0
        assert hit.usage_metadata["total_cost"] == 0, "as LangChain's own cache says it"
        assert hit.usage_metadata["output_tokens"] == first.usage_metadata["output_tokens"]
    assert "".join(chunk.text for chunk in llm.stream("hi")) == SAID
    assert server.count() == 1


# -- errors -----------------------------------------------------------------------------------------


async def test_fallbacks_of_langchain_follow_the_clusters_own(endpoints: list[Endpoint], server: Any) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints, policy=Policy(attempts=3, wait=lambda state: 0.0))
    rescued = llm.with_fallbacks([ScriptedModel("rescued")])
    assert rescued.invoke("hi").text == "rescued"
    assert (await rescued.ainvoke("hi")).text == "rescued"
    assert "".join(chunk.text for chunk in rescued.stream("hi")) == "rescued"
    tooled = llm.bind_tools([]).with_fallbacks([ScriptedModel("rescued").bind_tools([])])
    assert tooled.invoke("hi").text == "rescued"
    assert server.count() == 12


def test_fallbacks_may_be_chosen_by_error(endpoints: list[Endpoint], server: Any) -> None:
    server.fail(faults.Status(503))
    llm = ClusteredLLM(endpoints)
    only = llm.with_fallbacks([ScriptedModel("rescued")], exceptions_to_handle=(ClusterExhausted,))
    assert only.invoke("hi").text == "rescued"
    other = llm.with_fallbacks([ScriptedModel("rescued")], exceptions_to_handle=(KeyError,))
    with pytest.raises(ClusterExhausted):
        other.invoke("hi")


def test_with_retry_asks_the_whole_cluster_again(endpoints: list[Endpoint], server: Any) -> None:
    server.fail(faults.Status(503), times=3)
    llm = ClusteredLLM(endpoints, breaker=None)
    retried = llm.with_retry(
        retry_if_exception_type=(ClusterExhausted,), stop_after_attempt=2, wait_exponential_jitter=False
    )
    assert retried.invoke("hi").text
    assert server.count() == 4


async def test_an_error_of_the_caller_is_the_providers_own(
    llm: ClusteredLLM, bare: BaseChatModel, server: SimulatedServer
) -> None:
    server.fail(faults.Status(400))
    with pytest.raises(Exception) as ours:
        llm.invoke("hi")
    with pytest.raises(Exception) as theirs:
        bare.invoke("hi")
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value) == str(theirs.value)
    with pytest.raises(type(theirs.value)):
        await llm.ainvoke("hi")
    assert server.count() == 3


# -- configuration ----------------------------------------------------------------------------------


def test_fields_that_are_chosen_per_call(
    llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    chosen = llm.configurable_fields(
        temperature=ConfigurableField("temperature"), max_tokens=ConfigurableField("length")
    )
    assert chosen.invoke("hi").text == SAID
    short = chosen.invoke("hi", {"configurable": {"temperature": 0.5, "length": 2}})
    assert short.text == "here I"
    assert server.seen()[-1].body["temperature"] == 0.5
    assert "".join(c.text for c in chosen.stream("hi", {"configurable": {"length": 2}})) == "here I"
    assert "temperature" not in server.seen()[0].body
    assert chosen.with_config(configurable={"length": 1}).invoke("hi").text == "here"
    assert llm.cluster.stats()["calls"] == 4, "they are all one cluster"


def test_a_stop_that_is_chosen_per_call(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says(SAID)
    chosen = llm.configurable_fields(stop_sequences=ConfigurableField("stop"))
    assert chosen.invoke("hi", {"configurable": {"stop": ["at"]}}).text.strip() == "here I am"


def test_what_was_given_at_construction_survives_a_choice(endpoints: list[Endpoint], says: Any) -> None:
    says(SAID)
    given = ClusteredLLM(endpoints, stop=["am"], max_tokens=9, timeout=7, cache=True).for_agent("planner")
    chosen: Any = given.configurable_fields(temperature=ConfigurableField("temperature"))
    config: Any = {"configurable": {"temperature": 0.0}}
    assert chosen.invoke("hi", config).text.strip() == "here I"
    rebuilt, _ = chosen.prepare(config)
    assert rebuilt is not given
    assert (rebuilt.agent, rebuilt.max_tokens, rebuilt.temperature) == ("planner", 9, 0.0)
    assert rebuilt.cluster is given.cluster
    assert chosen.invoke("hi", config).response_metadata["cluster"]["cache"] == "memory"


def test_another_model_that_is_chosen_per_call(llm: ClusteredLLM, says: Callable[[Any], None]) -> None:
    says(SAID)
    chosen = llm.configurable_alternatives(
        ConfigurableField("model"), default_key="cluster", small=ScriptedModel("small")
    )
    assert chosen.invoke("hi").text == SAID
    assert chosen.invoke("hi", {"configurable": {"model": "small"}}).text == "small"
    other = ScriptedModel("other").configurable_alternatives(
        ConfigurableField("model"), default_key="other", cluster=llm
    )
    assert other.invoke("hi", {"configurable": {"model": "cluster"}}).text == SAID


def test_a_stop_of_every_kind(any_model: BaseChatModel, says: Callable[[Any], None]) -> None:
    says(SAID)
    assert any_model.invoke("hi", stop=["at"]).text.strip() == "here I am"
    assert any_model.bind(stop=["am"]).invoke("hi").text.strip() == "here I"
    assert "".join(chunk.text for chunk in any_model.stream("hi", stop=["at"])).strip() == "here I am"


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
async def test_a_history_is_kept(any_model: BaseChatModel, server: SimulatedServer) -> None:
    prompt = ChatPromptTemplate([MessagesPlaceholder("history"), ("user", "{question}")])
    kept: dict[str, InMemoryChatMessageHistory] = {}
    talk = RunnableWithMessageHistory(
        prompt | any_model,
        lambda session_id: kept.setdefault(session_id, InMemoryChatMessageHistory()),
        input_messages_key="question",
        history_messages_key="history",
    )
    config: Any = {"configurable": {"session_id": "one"}}
    talk.invoke({"question": "first"}, config)
    await talk.ainvoke({"question": "second"}, config)
    list(talk.stream({"question": "third"}, config))
    kinds = [isinstance(message, AIMessage) for message in kept["one"].messages]
    assert kinds == [False, True] * 3
    assert len(server.seen()[-1].body["messages"]) == 5


# -- time -------------------------------------------------------------------------------------------


def test_the_time_of_a_call_is_bounded(endpoints: list[Endpoint], server: SimulatedServer) -> None:
    server.fail(faults.Hang())
    llm = ClusteredLLM(endpoints, timeout=0.3)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        chain(llm).invoke(ASKED)
    assert time.monotonic() - started < 5.0
    server.heal()
    assert llm.cluster.close()


def test_a_call_may_bring_its_own_time(llm: ClusteredLLM, server: SimulatedServer) -> None:
    server.fail(faults.Hang())
    with pytest.raises(TimeoutError):
        chain(llm).invoke(ASKED, {"configurable": {"cluster": {"timeout": 0.2}}})


# -- a cluster in a cluster ---------------------------------------------------------------------------


async def test_a_cluster_is_an_endpoint_of_another(
    llm: ClusteredLLM, server: SimulatedServer, says: Callable[[Any], None]
) -> None:
    says(SAID)
    watcher = Watcher()
    outer = ClusteredLLM([Endpoint("inner", llm), Endpoint("spare", ScriptedModel("spare"), priority=1)])
    config: Any = {"callbacks": [watcher]}
    answer = outer.invoke("hi", config)
    assert answer.text == SAID
    assert answer.response_metadata["cluster"]["endpoint"] == "inner"
    assert (await outer.ainvoke("hi")).text == SAID
    assert "".join(chunk.text for chunk in outer.stream("hi", config)) == SAID
    merged: Any = None
    async for chunk in outer.astream("hi"):
        merged = chunk if merged is None else merged + chunk
    assert merged.text == SAID
    assert merged.response_metadata["cluster"]["endpoint"] == "inner"
    assert watcher.told.count("start") == watcher.told.count("end") == 2
    assert "".join(watcher.tokens) == SAID
    server.fail(faults.Status(503))
    assert outer.invoke("hi").text == "spare"
    assert (await outer.ainvoke("hi")).text == "spare"


def test_tools_reach_the_model_of_a_cluster_in_a_cluster(llm: ClusteredLLM, server: SimulatedServer) -> None:
    def get_weather(place: str) -> str:
        """The weather."""
        return place

    outer = ClusteredLLM([Endpoint("inner", llm)])
    answer: Any = outer.bind_tools([get_weather], tool_choice="any").invoke("the weather in Rome")
    assert answer.tool_calls[0]["name"] == "get_weather"
    assert outer.invoke([HumanMessage("hi")]).text
