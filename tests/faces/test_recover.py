"""A stream that breaks after its first token: resumed elsewhere or held back, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_cluster import ClusteredLLM, ClusterExhausted, Endpoint, Policy, StreamInterrupted
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.events import StreamResumed
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.faces.faces import Face, Heard, at_rest, cluster_of, pair, text_of

Models = Callable[[str], Any]
WORDS = 60
ANSWER = " ".join(f"word{n}" for n in range(WORDS))
BREAKS = [
    faults.ResetAfter(40),
    faults.CutAfter(40),
    faults.ChunkedCutAfter(40),
    faults.MalformedChunk(40),
    faults.ErrorEvent(40),
    faults.StallAfter(40),
]
LIMITS = {"timeout": 20.0, "idle_timeout": 0.3, "first_token_timeout": 5.0}
RESUME, BUFFER = Policy(recover="resume", **LIMITS), Policy(recover="buffer", **LIMITS)


@pytest.fixture(params=["stream", "astream"])
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


def answers(server: SimulatedServer, text: str | None = ANSWER) -> None:
    server.behave("bad", reply=text)
    server.behave("good", reply=text)


@pytest.mark.parametrize("fault", BREAKS, ids=repr)
@pytest.mark.parametrize("policy", [RESUME, BUFFER], ids=["resume", "buffer"])
def test_a_stream_cut_at_token_40_of_60_is_whole_in_the_end(
    policy: Policy, fault: faults.Fault, face: Face, server: SimulatedServer, model: Models
) -> None:
    answers(server)
    server.fail(fault, endpoint="bad")
    llm = pair(model("bad"), model("good"), policy=policy)
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert text_of(message) == ANSWER
    assert (cluster_of(message)["endpoint"], cluster_of(message)["attempts"]) == ("good", 2)
    assert heard.verdicts == [("bad", "transient")]
    resumed = [(e.broke, e.endpoint, e.prefill) for e in heard.of(StreamResumed)]
    assert resumed == ([("bad", "good", False)] if policy is RESUME else [])
    assert (server.count("bad"), server.count("good")) == (1, 1)
    assert sum(bool(c.response_metadata.get("cluster")) for c in face.received) == 1
    assert message.response_metadata["model_name"] == "m", "of one endpoint, not of both run together"
    assert at_rest(llm, server)


def test_resuming_hands_out_at_once_and_buffering_only_what_is_whole(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    answers(server)
    server.fail(faults.CutAfter(40), endpoint="bad")
    server.fail(faults.CutAfter(20), endpoint="good")
    for policy in (RESUME, BUFFER):
        llm = pair(openai("bad"), openai("good"), policy=policy.but(attempts=2))
        with pytest.raises((StreamInterrupted, ClusterExhausted)) as caught:
            face.ask(llm, "hello")
        delivered = "".join(chunk.text for chunk in face.received)
        if policy is BUFFER:
            assert (delivered, type(caught.value)) == ("", ClusterExhausted)
        else:
            assert ANSWER.startswith(delivered)
            assert len(delivered.split()) == 40
            assert isinstance(caught.value, StreamInterrupted)
            assert (caught.value.endpoint, caught.value.partial.text) == ("bad", delivered)
            notes = [note for note in caught.value.__notes__ if note.startswith("attempt")]
            assert [note[:17] for note in notes] == ["attempt 1 on bad:", "attempt 2 on good"]
        server.clear_log()


def test_another_answer_is_not_sewn_to_the_first(face: Face, server: SimulatedServer, openai: Models) -> None:
    server.behave("bad", reply=ANSWER)
    server.behave("good", reply="something else altogether, and longer than what was delivered before")
    server.fail(faults.CutAfter(40), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=RESUME)
    with pytest.raises(StreamInterrupted) as caught:
        face.ask(llm, "hello")
    assert caught.value.endpoint == "bad"
    assert "".join(chunk.text for chunk in face.received) == caught.value.partial.text
    assert llm.cluster.pool.snapshot.by_id["good"].failed == 0, "nobody is to blame for another answer"
    assert at_rest(llm, server)


def test_a_shorter_answer_is_another_answer(face: Face, server: SimulatedServer, openai: Models) -> None:
    server.behave("bad", reply=ANSWER)
    server.behave("good", reply=" ".join(ANSWER.split()[:30]))
    server.fail(faults.CutAfter(40), endpoint="bad")
    with pytest.raises(StreamInterrupted):
        face.ask(pair(openai("bad"), openai("good"), policy=RESUME), "hello")


def prefilled(ask: Any) -> str:
    """What comes after the assistant's own beginning, if there is one; else another answer."""
    if not ask.begun:
        return "something else altogether, and it is not at all what was said before"
    assert ANSWER.startswith(ask.begun)
    return ANSWER[len(ask.begun) :]


def test_where_the_text_differs_an_endpoint_that_can_goes_on_from_it(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", reply=ANSWER)
    server.behave("good", reply=prefilled)
    server.fail(faults.CutAfter(40), endpoint="bad")
    endpoints = [
        Endpoint("bad", openai("bad"), priority=0),
        Endpoint("good", openai("good"), priority=1, capabilities=frozenset({"prefill"})),
    ]
    llm = ClusteredLLM(endpoints, policy=RESUME, cache=MemoryCache())
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert text_of(message) == ANSWER
    assert cluster_of(message)["attempts"] == 3
    assert [e.prefill for e in heard.of(StreamResumed)] == [False, True]
    server.heal()
    assert cluster_of(face.ask(llm, "hello"))["cache"] == "miss", "half an answer is not stored"
    assert at_rest(llm, server)


def test_an_endpoint_that_refuses_a_prefill_is_never_given_one(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", reply=ANSWER)
    server.behave("good", reply="something else altogether")
    server.fail(faults.CutAfter(40), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=RESUME)
    with pytest.raises(StreamInterrupted):
        face.ask(llm, "hello")
    assert all(seen.body["messages"][-1]["role"] == "user" for seen in server.seen("good"))


def test_the_fallbacks_own_error_does_not_hide_what_happened(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    answers(server)
    server.fail(faults.CutAfter(40), endpoint="bad")
    server.fail(faults.Status(400), endpoint="good")
    with pytest.raises(StreamInterrupted) as caught:
        face.ask(pair(openai("bad"), openai("good"), policy=RESUME), "hello")
    assert caught.value.endpoint == "bad"
    assert len(caught.value.partial.text.split()) == 40
    assert any("attempt 2 on good: 400" in note for note in caught.value.__notes__)


def test_a_stream_may_break_more_than_once(face: Face, server: SimulatedServer, openai: Models) -> None:
    for endpoint in ("a", "b", "c"):
        server.behave(endpoint, reply=ANSWER)
    server.fail(faults.CutAfter(20), endpoint="a")
    server.fail(faults.CutAfter(40), endpoint="b")
    llm = ClusteredLLM(
        [Endpoint(id, openai(id), priority=n) for n, id in enumerate("abc")], policy=RESUME.but(attempts=3)
    )
    heard = Heard(llm)
    message = face.ask(llm, "hello")
    assert text_of(message) == ANSWER
    assert (cluster_of(message)["endpoint"], cluster_of(message)["attempts"]) == ("c", 3)
    assert [(e.broke, e.endpoint) for e in heard.of(StreamResumed)] == [("a", "b"), ("b", "c")]
    assert at_rest(llm, server)


def test_one_that_breaks_sooner_than_the_first_loses_nothing(
    face: Face, server: SimulatedServer, openai: Models
) -> None:
    for endpoint in ("a", "b", "c"):
        server.behave(endpoint, reply=ANSWER)
    server.fail(faults.CutAfter(40), endpoint="a")
    server.fail(faults.CutAfter(20), endpoint="b")
    llm = ClusteredLLM([Endpoint(id, openai(id), priority=n) for n, id in enumerate("abc")], policy=RESUME)
    assert text_of(face.ask(llm, "hello")) == ANSWER


def test_a_tool_call_is_not_resumed(face: Face, server: SimulatedServer, openai: Models) -> None:
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "the weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    answers(server, None)
    server.fail(faults.CutAfter(2), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=RESUME).bind_tools([weather], tool_choice="get_weather")
    with pytest.raises(StreamInterrupted):
        face.ask(llm, "the weather in Paris, please")
    assert server.count("good") == 0


def test_a_resumed_answer_is_cached_whole(face: Face, server: SimulatedServer, openai: Models) -> None:
    answers(server)
    server.fail(faults.CutAfter(40), endpoint="bad")
    llm = pair(openai("bad"), openai("good"), policy=RESUME, cache=MemoryCache())
    face.ask(llm, "hello")
    again = face.ask(llm, "hello")
    assert (text_of(again), cluster_of(again)["cache"]) == (ANSWER, "memory")


def test_content_in_blocks_is_resumed_too(face: Face) -> None:
    def block(text: str) -> Any:
        return [{"type": "text", "text": text, "index": 0}]

    def chunks(*texts: str) -> list[Any]:
        return [AIMessageChunk(content=block(text)) for text in texts]

    bad = ScriptedModel([*chunks("one ", "two ", "three "), ConnectionError("reset")])
    good = ScriptedModel(
        [*chunks("one tw", "o three fo", "ur five"), AIMessageChunk(content="", chunk_position="last")]
    )
    message = face.ask(pair(bad, good, policy=RESUME), "count")
    assert text_of(message) == "one two three four five"


def test_whoever_leaves_a_held_back_stream_leaves_nothing_behind(
    server: SimulatedServer, openai: Models
) -> None:
    server.behave("bad", tokens=30, between_tokens=0.05)
    llm = ClusteredLLM([Endpoint("bad", openai("bad"))], policy=BUFFER)

    async def leave() -> None:
        async def read() -> None:
            async for _ in llm.astream("hello"):
                raise AssertionError("nothing is handed out before it is whole")

        reading = asyncio.create_task(read())
        assert await asyncio.to_thread(server.wait_until, lambda: server.in_flight() == 1, within=5.0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(leave())
    assert at_rest(llm, server)


USED = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize(
    "again",
    [
        [AIMessageChunk("one two three", response_metadata={"finish_reason": "stop"}, usage_metadata=USED)],
        [AIMessageChunk("one two ", chunk_position="last", usage_metadata=USED,
                        response_metadata={"finish_reason": "stop"})],
        AIMessage("one two three", response_metadata={"finish_reason": "stop"}, usage_metadata=USED),
    ],
    ids=["in one chunk", "with nothing new", "not streamed"],
)  # fmt: skip
def test_a_stream_that_is_resumed_in_one_piece_says_how_it_ended(again: Any, face: Face) -> None:
    bad = ScriptedModel(["one ", "two ", ConnectionError("cut")])
    message = face.ask(pair(bad, ScriptedModel(again), policy=RESUME), "count")
    assert text_of(message).startswith("one two ")
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.usage_metadata == USED


@pytest.mark.parametrize("capabilities", [None, {"prefill"}], ids=["again", "prefill"])
def test_two_models_names_are_not_run_together(capabilities: Any, face: Face) -> None:
    names = {"model_name": "first", "model_provider": "one"}
    bad = ScriptedModel([AIMessageChunk("one ", response_metadata=names), ConnectionError("cut")])
    end = AIMessageChunk(
        "", response_metadata={"finish_reason": "stop", "model_name": "second", "model_provider": "two"},
        chunk_position="last",
    )  # fmt: skip
    anew: Any = ["one ", "two", end] if capabilities is None else ["other"]
    good = ScriptedModel(anew, ["two", end])
    llm = ClusteredLLM(
        [Endpoint("bad", bad, priority=0), Endpoint("good", good, priority=1, capabilities=capabilities)],
        policy=RESUME,
    )
    message = face.ask(llm, "count")
    assert text_of(message) == "one two"
    said = {name: text for name, text in message.response_metadata.items() if name != "cluster"}
    assert said == {"model_name": "first", "model_provider": "one", "finish_reason": "stop"}
    assert cluster_of(message)["endpoint"] == "good"
