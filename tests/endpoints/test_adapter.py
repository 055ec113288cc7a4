"""An endpoint's own chat model, made ready: asked once, told its limits, and left as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import BaseModel

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy, Verdict
from langchain_cluster.endpoints.adapter import Adapter
from langchain_cluster.model.call import Limits
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults
from tests.endpoints.asking import WAYS, message_of

Make = Callable[..., Any]


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class CountingLimiter(BaseRateLimiter):
    """Lets everybody through, and counts them."""

    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True


# -- retries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("retries", [2, 5])
@pytest.mark.parametrize("fault", [faults.Status(503), faults.RateLimited(0), faults.Refuse()], ids=repr)
def test_the_sdk_does_not_retry(
    fault: Any, retries: int, way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    server.fail(fault, endpoint="gpu-1")
    outcome = asking(make(max_retries=retries)).ask(way)
    assert outcome.verdict in (Verdict.TRANSIENT, Verdict.THROTTLED)
    assert server.count("gpu-1") == 1


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
@pytest.mark.parametrize("face", ["invoke", "ainvoke", "stream", "astream"])
def test_nor_when_it_parses_structured_output(
    method: Any, face: str, server: SimulatedServer, make: Make, runner: Any
) -> None:
    server.fail(faults.Status(503), endpoint="gpu-1")
    llm = ClusteredLLM([Endpoint("gpu-1", make())], policy=Policy(attempts=1))
    structured = llm.with_structured_output(Joke, method=method)

    async def awaited() -> None:
        if face == "ainvoke":
            await structured.ainvoke("tell")
        else:
            async for _ in structured.astream("tell"):
                pass

    with pytest.raises(Exception, match=r"503|overloaded|unavailable"):  # noqa: PT012
        if face == "invoke":
            structured.invoke("tell")
        elif face == "stream":
            list(structured.stream("tell"))
        else:
            runner.run(awaited())
    assert server.count("gpu-1") == 1


def test_the_users_own_model_still_retries(server: SimulatedServer, make: Make, asking: Any) -> None:
    model = make(max_retries=1)
    before = dict(model.__dict__)
    ask = asking(model)
    server.fail(faults.Status(503, headers={"retry-after-ms": "1"}), endpoint="gpu-1", times=1)
    assert ask.ask("call").verdict is Verdict.THROTTLED
    assert {name: model.__dict__[name] for name in before} == before
    server.fail(faults.Status(503, headers={"retry-after-ms": "1"}), endpoint="gpu-1", times=1)
    assert model.invoke("hello").text == "gpu-1 says: hello"
    assert server.count("gpu-1") == 3
    assert model.max_retries == 1


# -- the user's object ------------------------------------------------------------------------------


def test_a_temperature_changed_on_the_users_object_holds_for_the_next_call(
    server: SimulatedServer, make: Make, asking: Any
) -> None:
    model = make(temperature=0.1)
    ask = asking(model)
    for way in WAYS:
        model.temperature = 0.25
        ask.ask(way)
        model.temperature = 0.75
        ask.ask(way)
        assert [seen.body["temperature"] for seen in server.seen("gpu-1")] == [0.25, 0.75]
        server.clear_log()


def test_the_adapter_is_kept_while_nothing_changes(make: Make, asking: Any) -> None:
    ask = asking(make())
    adapter = ask.caller.adapter(ask.endpoint)
    assert ask.caller.adapter(ask.endpoint) is adapter
    ask.caller.forget("gpu-1")
    assert ask.caller.adapter(ask.endpoint) is not adapter
    other = Endpoint("gpu-1", make())
    assert ask.caller.adapter(other).original is other.model


@pytest.mark.parametrize("way", WAYS)
def test_bindings_are_unwrapped_and_their_arguments_kept(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    bound = make().bind(stop=["never"], temperature=0.1).bind(temperature=0.9).with_config(tags=["mine"])
    outcome = asking(bound).ask(way)
    assert message_of(outcome).text == "gpu-1 says: hello"
    body = server.seen("gpu-1")[0].body
    assert body["temperature"] == 0.9, "the outer binding was made later, and wins"
    assert (body.get("stop") or body.get("stop_sequences")) == ["never"]


@pytest.mark.parametrize("way", WAYS)
def test_the_stop_of_a_call_wins_over_that_of_a_binding(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    asking(make().bind(stop=["never"])).ask(way, stop=["hello"])
    body = server.seen("gpu-1")[0].body
    assert (body.get("stop") or body.get("stop_sequences")) == ["hello"]


def test_the_calls_arguments_win_over_those_of_a_binding(
    server: SimulatedServer, make: Make, asking: Any
) -> None:
    asking(make().bind(temperature=0.1, top_p=0.5)).ask("call", temperature=0.7)
    body = server.seen("gpu-1")[0].body
    assert (body["temperature"], body["top_p"]) == (0.7, 0.5)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", 7, None, object(), ScriptedModel("a") | (lambda m: m)],
    ids=["text", "number", "none", "object", "chain"],
)
def test_what_is_no_chat_model_is_said_so(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"endpoint 'gpu-1'.*not a LangChain chat model"):
        Adapter(Endpoint("gpu-1", model))


# -- what an attempt carries ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_trace_is_handed_on(way: str, server: SimulatedServer, make: Make, asking: Any) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    ask = asking(make().bind(extra_headers={"x-mine": "1"}))
    assert ask.ask(way, headers=headers).verdict is Verdict.OK
    assert ask.ask(way, headers=headers, extra_headers={"x-call": "2"}).verdict is Verdict.OK
    first, second = (seen.headers for seen in server.seen("gpu-1"))
    assert first["traceparent"] == second["traceparent"] == headers["traceparent"]
    assert first["x-mine"] == "1"
    assert second["x-call"] == "2"


def test_limits_become_the_sdks_own(provider: str, make: Make) -> None:
    kind = {"openai": openai_sdk, "anthropic": anthropic_sdk}[provider].Timeout
    adapter = Adapter(Endpoint("gpu-1", make()))

    def timeout(*, stream: bool = False, now: float = 5.0, **limits: Any) -> Any:
        return adapter.arguments({}, Limits(**limits), {}, now, stream=stream).get("timeout")

    assert timeout() is None
    assert timeout(until=15.0) == kind(10.0, connect=10.0)
    assert timeout(until=15.0, connect=2.0) == kind(10.0, connect=2.0)
    assert timeout(until=6.0, connect=2.0) == kind(1.0, connect=1.0)
    assert timeout(until=4.0) == kind(0.05, connect=0.05), "late is not for ever"
    assert timeout(connect=2.0) == kind(None, connect=2.0)
    assert timeout(until=15.0, idle=3.0) == kind(10.0, connect=10.0), "a whole answer has no pauses"
    assert timeout(until=15.0, idle=3.0, stream=True) == kind(3.0, connect=3.0)
    assert timeout(until=15.0, idle=3.0, first_token=4.0, stream=True) == kind(4.0, connect=4.0)
    assert timeout(idle=3.0, connect=1.0, stream=True) == kind(3.0, connect=1.0)
    assert adapter.arguments({"timeout": 1}, Limits(9.0), {}, 5.0, stream=False) == {"timeout": 1}


@pytest.mark.parametrize("way", WAYS)
def test_limits_end_a_silent_attempt(way: str, server: SimulatedServer, make: Make, asking: Any) -> None:
    ask = asking(make())
    server.fail(faults.Hang(), endpoint="gpu-1")
    outcome = ask.ask(way, limits=Limits(until=ask.caller._now() + 0.3, connect=0.2))
    assert outcome.verdict is Verdict.TRANSIENT
    assert 0.2 < outcome.seconds < 5.0
    assert server.count("gpu-1") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_model_of_no_known_sdk_gets_the_calls_arguments_only(way: str, asking: Any) -> None:
    model = ScriptedModel("hello")
    asking(model).ask(way, limits=Limits(1e9, 5.0), headers={"traceparent": "00-1-1-01"}, top_p=0.5)
    assert model.arguments == [{"top_p": 0.5}]


# -- what the model's own invoke would have done ----------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_the_models_own_rate_limiter_is_asked_once_per_attempt(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    limiter = CountingLimiter()
    ask = asking(make(rate_limiter=limiter))
    ask.ask(way)
    assert limiter.acquired == 1
    server.fail(faults.Status(503), endpoint="gpu-1")
    ask.ask(way)
    assert limiter.acquired == 2


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_model_that_must_not_stream_gives_one_chunk(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    ask = asking(make(disable_streaming=True))
    outcome = ask.ask(way)
    assert server.seen("gpu-1")[0].stream is False
    (chunk,) = ask.chunks
    assert chunk.message.chunk_position == "last"
    assert chunk.message.text == "gpu-1 says: hello"
    assert outcome.usage == ask.ask("call").usage
    assert outcome.storable


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(("tools", "streamed"), [(True, False), (False, True)])
def test_a_model_that_must_not_stream_with_tools(
    tools: bool, streamed: bool, way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    def weather(place: str) -> str:
        """The weather."""
        return place

    arguments = make().bind_tools([weather]).kwargs if tools else {}
    outcome = asking(make(disable_streaming="tool_calling")).ask(way, "the weather in Rome", **arguments)
    assert outcome.verdict is Verdict.OK
    assert server.seen("gpu-1")[0].stream is streamed


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_model_that_says_it_is_not_streaming_is_not_asked_to(
    way: str, server: SimulatedServer, make: Make, asking: Any
) -> None:
    assert asking(make(streaming=False)).ask(way).verdict is Verdict.OK
    assert server.seen("gpu-1")[0].stream is False


class Whole(BaseChatModel):
    """A model that cannot stream."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = {"name": "look", "args": {"at": "ö"}, "id": "1", "type": "tool_call"}
        message = AIMessage("seen", tool_calls=[call], response_metadata={"model_name": "whole"})
        return ChatResult(
            generations=[ChatGeneration(message=message, generation_info={"finish_reason": "stop"})],
            llm_output={"extra": 1},
        )

    @property
    def _llm_type(self) -> str:
        return "whole"


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_model_without_a_stream_gives_one_chunk(way: str, asking: Any) -> None:
    ask = asking(Whole())
    assert ask.ask(way).verdict is Verdict.OK
    (chunk,) = ask.chunks
    message = chunk.message
    assert message.text == "seen"
    assert message.tool_calls == [{"name": "look", "args": {"at": "ö"}, "id": "1", "type": "tool_call"}]
    assert message.chunk_position == "last"
    assert chunk.generation_info == {"extra": 1, "finish_reason": "stop"}


class OnlyAsync(ScriptedModel):
    """A model whose stream is only awaited, as some are."""

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk


class OnlySync(ScriptedModel):
    """A model whose stream only blocks."""

    _astream = BaseChatModel._astream

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        kwargs.pop("run_manager", None)
        yield from super()._stream(messages, *args, **kwargs)


OnlyAsync._stream = BaseChatModel._stream  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", [OnlyAsync, OnlySync])
@pytest.mark.parametrize("face", ["stream", "astream"])
def test_a_model_that_streams_in_one_colour_only(kind: Any, face: str, runner: Any) -> None:
    llm = ClusteredLLM([Endpoint("a", kind("hello you there"))], policy=Policy(attempts=1))

    async def awaited() -> list[Any]:
        return [chunk async for chunk in llm.astream("hi")]

    chunks = list(llm.stream("hi")) if face == "stream" else runner.run(awaited())
    assert "".join(chunk.text for chunk in chunks) == "hello you there"
