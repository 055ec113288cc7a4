"""Answers as LangChain wants them, how they ended, what they used, and what a pool can do."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_cluster import Endpoint, Price, Usage
from langchain_cluster.endpoints.answer import Ending, as_message, as_result, not_last, replay, signed
from langchain_cluster.endpoints.profile import common_model_name, common_profile
from langchain_cluster.endpoints.usage import finish_reason_of, storable, usage_of
from langchain_cluster.model.call import Answer
from langchain_cluster.pool import Pool
from langchain_cluster.testing import FakeClock, ScriptedModel


def answer(message: AIMessage | None = None, **fields: Any) -> Answer:
    message = message or AIMessage("hello you", response_metadata={"model_name": "m"})
    generation = ChatGeneration(message=message, generation_info={"finish_reason": "stop"})
    value = ChatResult(generations=[generation], llm_output={"extra": 1})
    return Answer(value, **{"source": "miss", "endpoint": "gpu-1", "attempts": 1, **fields})


def text(chunks: list[ChatGenerationChunk]) -> str:
    return "".join(chunk.message.text for chunk in chunks)


def test_a_result_is_a_copy_that_says_where_it_came_from() -> None:
    given = answer()
    before = given.value.generations[0].message.model_copy(deep=True)
    made = as_result(given)
    assert made.generations[0].message.response_metadata["cluster"]["endpoint"] == "gpu-1"
    assert made.llm_output == {"extra": 1}
    assert given.value.generations[0].message == before, "a model may hand out one object again and again"


def test_a_message_is_finished_as_langchain_would() -> None:
    message = as_message(answer(), "lc_run--1")
    assert message.id == "lc_run--1-0"
    told = dict(message.response_metadata)
    assert told.pop("cluster")["attempts"] == 1
    assert told == {"extra": 1, "finish_reason": "stop", "model_name": "m"}
    assert as_message(answer(AIMessage("a", id="own")), "lc_run--1").id == "own"


@pytest.mark.parametrize("content", ["hello", "", [{"type": "text", "text": "hello"}]])
def test_a_replay_adds_up_to_the_answer(content: Any) -> None:
    usage: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "total_cost": 0}
    message = AIMessage(content, name="n", response_metadata={"a": 1}, usage_metadata=usage)
    first, *rest = replay(answer(message, endpoint=None, source="memory"))
    whole: Any = first
    for chunk in rest:
        whole = whole + chunk
    assert whole.message.content == content
    assert first.message.name == "n"
    assert whole.message.response_metadata == {"a": 1}
    assert whole.message.usage_metadata["output_tokens"] == 2
    assert rest[-1].message.chunk_position == "last"  # type: ignore[attr-defined]


def test_the_last_chunk_is_signed_and_the_model_s_own_left_alone() -> None:
    given = ChatGenerationChunk(message=AIMessageChunk(content="x", chunk_position="last"))
    made: Any = signed(given, answer(), "")
    assert made.message.response_metadata["cluster"]["endpoint"] == "gpu-1"
    assert given.message.response_metadata == {}
    for like, content in (("", ""), ("text", ""), ([], []), ([{"type": "text"}], [])):
        added: Any = signed(None, answer(), like)
        assert (added.message.content, added.message.chunk_position) == (content, "last")


def test_a_chunk_that_was_not_the_last_no_longer_says_so() -> None:
    given = ChatGenerationChunk(message=AIMessageChunk(content="x", chunk_position="last"))
    made: Any = not_last(given)
    assert made.message.chunk_position is None
    assert given.message.chunk_position == "last"  # type: ignore[attr-defined]


def follow(*items: Any) -> list[Any]:
    ending = Ending()
    return [chunk for item in items for chunk in ending.follow(item)]


def part(content: str, *, last: bool = False) -> ChatGenerationChunk:
    message = AIMessageChunk(content=content, chunk_position="last" if last else None)
    return ChatGenerationChunk(message=message)


@pytest.mark.parametrize(
    "items",
    [
        [part("a"), part("b")],
        [part("a"), part("b", last=True)],
        [part("a", last=True)],
        [part("a", last=True), part("b")],
        [part("a", last=True), part("b", last=True)],
        [],
    ],
    ids=len,
)
def test_exactly_one_chunk_is_the_last_and_signed(items: list[Any]) -> None:
    told = follow(*items, answer(delivered=True))
    assert text(told) == text(items)
    assert [chunk.message.chunk_position for chunk in told] == [None] * (len(told) - 1) + ["last"]
    signatures = ["cluster" in chunk.message.response_metadata for chunk in told]
    assert signatures == [False] * (len(told) - 1) + [True]


def test_a_hit_is_handed_out_by_the_ending() -> None:
    told = follow(answer(endpoint=None, source="memory"))
    assert text(told) == "hello you"
    assert told[-1].message.response_metadata["cluster"]["cache"] == "memory"


# -- usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"input_tokens": None, "output_tokens": 2}, Usage(0, 2)),
        ({"input_tokens": 3, "output_tokens": 2, "input_token_details": {"cache_read": 1}}, Usage(3, 2, 1)),
        ({"input_tokens": 3, "output_tokens": 2, "input_token_details": {"cache_read": None}}, Usage(3, 2)),
        ({"input_tokens": 3, "output_tokens": 2, "input_token_details": None}, Usage(3, 2)),
    ],
    ids=repr,
)
def test_usage_as_the_cluster_counts_it(metadata: Any, usage: Any) -> None:
    assert usage_of(metadata) == usage


def test_what_usage_costs() -> None:
    price = Price(input=2.0, output=10.0, cached_input=0.5)
    assert Usage(1_000_000, 100_000, 400_000).cost(price) == pytest.approx(1.2 + 0.2 + 1.0)
    assert Usage(1_000_000, 0, 1_000_000).cost(Price(input=2.0)) == 2.0


@pytest.mark.parametrize("name", ["finish_reason", "stop_reason", "done_reason"])
def test_why_a_model_stopped_under_whichever_name(name: str) -> None:
    assert finish_reason_of(AIMessage("a", response_metadata={name: "stop"}), None) == "stop"
    assert finish_reason_of(AIMessage("a"), {name: "stop"}) == "stop"
    assert finish_reason_of(AIMessage("a", response_metadata={name: None}), {}) is None


def test_what_may_be_stored() -> None:
    call: Any = {"name": "look", "args": {}, "id": "1", "type": "tool_call"}
    assert storable(AIMessage("a"), "stop", says_why=True)
    assert storable(AIMessage("a"), None, says_why=False)
    assert not storable(AIMessage("a"), None, says_why=True)
    assert not storable(AIMessage("a"), "length", says_why=False)
    assert not storable(AIMessage(""), "stop", says_why=True)
    assert not storable(AIMessage("a", tool_calls=[call]), "stop", says_why=True)
    assert not storable(AIMessage("a"), "tool_calls", says_why=True, calls=True)
    for reason in ("stop", "tool_calls", "tool_use"):
        assert storable(AIMessage("", tool_calls=[call]), reason, says_why=True, calls=True)
    assert not storable(AIMessage("", tool_calls=[call]), "length", says_why=True, calls=True)
    unread: Any = {"name": "look", "args": "{", "id": "1", "error": None, "type": "invalid_tool_call"}
    assert not storable(AIMessage("", invalid_tool_calls=[unread]), "stop", says_why=True, calls=True)


# -- profile ------------------------------------------------------------------------------------------


def endpoint(name: str, profile: Any = None, **fields: Any) -> Endpoint:
    return Endpoint(name, ScriptedModel(profile=profile, **fields))


def test_a_pool_can_do_what_each_of_it_can() -> None:
    one = {"max_input_tokens": 9, "tool_calling": True, "name": "m", "only": 1}
    other = {"max_input_tokens": 5, "tool_calling": False, "name": "n"}
    both = common_profile([endpoint("a", one), endpoint("b", other)])
    assert both == {"max_input_tokens": 5, "tool_calling": False}
    assert common_profile([endpoint("a", one)]) == one
    assert common_profile([endpoint("a", one), endpoint("b")]) is None
    assert common_profile([]) is None
    bound = Endpoint("a", ScriptedModel(profile=one).bind(x=1).with_config(tags=["t"]))
    assert common_profile([bound]) == one


def test_a_pool_is_called_by_its_models() -> None:
    named = [endpoint("a", model_name="m"), endpoint("b", model_name="m"), endpoint("c", model_name="n")]
    assert common_model_name(Pool(named[:2], clock=FakeClock()).snapshot) == "m"
    assert common_model_name(Pool(named, clock=FakeClock()).snapshot) == "m+n"
    assert common_model_name(Pool([Endpoint("a")], clock=FakeClock()).snapshot) == "cluster"
    assert (
        common_model_name(Pool([Endpoint("a", metadata={"model": "x"})], clock=FakeClock()).snapshot) == "x"
    )
