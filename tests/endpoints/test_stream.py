"""When a stream has begun, whether it really ended, and what it used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_cluster import Usage, Verdict
from langchain_cluster.endpoints.caller import judge
from langchain_cluster.endpoints.stream import ModelStream
from langchain_cluster.testing import SimulatedServer, faults

Make = Callable[..., Any]
WAYS = ("stream", "astream")


def fresh(*, says_why: bool = True, keep: bool = True) -> ModelStream:
    def never() -> Any:
        raise AssertionError("nothing is read here")

    return ModelStream(never, never, judge, started=100.0, says_why=says_why, keep=keep)


def chunk(content: Any = "", reason: str | None = None, **fields: Any) -> ChatGenerationChunk:
    message = AIMessageChunk(content=content, **fields)
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": reason} if reason else None)


@pytest.mark.parametrize(
    ("given", "is_token"),
    [
        (chunk(""), False),
        (chunk([]), False),
        (chunk("", response_metadata={"model_provider": "openai"}), False),
        (chunk("", additional_kwargs={"refusal": None}), False),
        (chunk("", usage_metadata={"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}), False),
        (chunk([{"type": "text", "text": "", "index": 0}]), False),
        (chunk([{"type": "thinking", "thinking": "", "index": 0}]), False),
        (chunk("a"), True),
        (chunk(" "), True),
        (chunk(["a"]), True),
        (chunk([{"type": "text", "text": "a", "index": 0}]), True),
        (chunk([{"type": "thinking", "thinking": "hm", "index": 0}]), True),
        (chunk([{"type": "reasoning", "reasoning": "hm", "index": 0}]), True),
        (chunk("", additional_kwargs={"reasoning_content": "hm"}), True),
        (
            chunk("", tool_call_chunks=[{"name": "look", "args": "", "id": "1", "index": 0}]),
            True,
        ),
    ],
    ids=lambda value: repr(value.message)[15:80] if isinstance(value, ChatGenerationChunk) else str(value),
)
def test_a_role_is_no_token(given: ChatGenerationChunk, is_token: bool) -> None:
    stream = fresh()
    assert stream.has_token(given) is is_token
    stream.note(given, 101.5)
    stream.note(chunk("x", "stop"), 103.0)
    assert stream.ended(104.0).first_token_seconds == (1.5 if is_token else 3.0)


@pytest.mark.parametrize(
    ("chunks", "verdict"),
    [
        ([], Verdict.TRANSIENT),
        ([chunk("a")], Verdict.TRANSIENT),
        ([chunk("a"), chunk("b")], Verdict.TRANSIENT),
        ([chunk("a"), chunk("", "stop")], Verdict.OK),
        ([chunk("a", "length")], Verdict.OK),
        ([chunk("a"), chunk("", response_metadata={"stop_reason": "end_turn"})], Verdict.OK),
        ([chunk("a"), chunk("", chunk_position="last")], Verdict.OK),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else str(value),
)
def test_a_stream_that_does_not_say_why_it_stopped_was_cut(
    chunks: list[ChatGenerationChunk], verdict: Verdict
) -> None:
    stream = fresh()
    for at, given in enumerate(chunks, 101):
        stream.note(given, float(at))
    outcome = stream.ended(110.0)
    assert outcome.verdict is verdict
    assert outcome.seconds == 10.0
    if verdict is Verdict.TRANSIENT:
        assert isinstance(outcome.error, ConnectionError)
        assert outcome.value is None


def test_a_model_of_this_process_need_not_say_why() -> None:
    stream = fresh(says_why=False)
    stream.note(chunk("a"), 101.0)
    assert stream.ended(102.0).verdict is Verdict.OK
    empty = fresh(says_why=False)
    assert empty.ended(102.0).verdict is Verdict.TRANSIENT, "nothing at all is no answer"


@pytest.mark.parametrize(
    ("reason", "storable"),
    [("stop", True), ("end_turn", True), ("length", False), ("content_filter", False), ("max_tokens", False)],
)
def test_only_a_whole_answer_may_be_stored(reason: str, storable: bool) -> None:
    stream = fresh()
    stream.note(chunk("a", reason), 101.0)
    assert stream.ended(102.0).storable is storable


def test_what_nobody_wants_is_not_put_together() -> None:
    stream = fresh(keep=False)
    stream.note(chunk("a", "stop"), 101.0)
    outcome = stream.ended(102.0)
    assert (outcome.value, outcome.storable) == (None, False)
    partial = stream.partial()
    assert partial is not None
    assert partial.content == "a"


def test_usage_that_comes_in_parts_is_added_up() -> None:
    stream = fresh()
    first: Any = {"input_tokens": 10, "output_tokens": 0, "total_tokens": 10}
    first["input_token_details"] = {"cache_read": 4}
    second: Any = {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3}
    stream.note(chunk("a", usage_metadata=first), 101.0)
    stream.note(chunk("b", "stop", usage_metadata=second), 102.0)
    assert stream.ended(103.0).usage == Usage(10, 3, 4)


def test_a_chunk_that_is_changed_later_is_kept_as_it_came() -> None:
    """LangChain sets ids and metadata on what it is handed."""
    stream = fresh()
    given = chunk("a", "stop")
    stream.note(given, 101.0)
    given.message = AIMessageChunk(content="changed")
    assert stream.ended(102.0).value.message.content == "a"


@pytest.mark.parametrize("way", WAYS)
def test_usage_of_a_stream_is_exactly_that_of_the_bare_model(
    way: str, provider: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    outcome = asking(make()).ask(way, "hello you there")
    bare = make(stream_usage=True)
    merged: Any = None
    for part in bare.stream("hello you there"):
        merged = part if merged is None else merged + part
    told = merged.usage_metadata
    assert outcome.usage == Usage(told["input_tokens"], told["output_tokens"])
    assert outcome.usage == asking(make()).ask("call", "hello you there").usage
    assert outcome.value.message.usage_metadata == told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fault",
    [faults.CutAfter(2), faults.ChunkedCutAfter(2), faults.ResetAfter(2), faults.MalformedChunk(2)],
    ids=lambda fault: type(fault).__name__,
)
def test_a_cut_stream_is_never_an_answer(
    fault: Any, way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    server.fail(fault, endpoint="gpu-1")
    ask = asking(make())
    outcome = ask.ask(way, "hello you there")
    assert outcome.verdict is Verdict.TRANSIENT
    assert outcome.value is None
    assert ask.streamed.partial().text == "gpu-1 says:"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [faults.NullChoices(), faults.EmptyBody()], ids=repr)
def test_a_stream_without_an_answer_is_none(
    fault: Any, way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    server.fail(fault, endpoint="gpu-1")
    ask = asking(make())
    outcome = ask.ask(way)
    assert outcome.verdict is Verdict.TRANSIENT
    assert not any(ask.streamed.has_token(given) for given in ask.chunks)


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_only_lacks_its_closing_mark_is_whole(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    server.fail(faults.NoDone(), endpoint="gpu-1")
    assert asking(make()).ask(way).verdict is Verdict.OK
