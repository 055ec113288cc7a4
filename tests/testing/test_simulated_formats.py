"""Healthy answers, read by the clients people use."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from langchain_cluster.testing.simulated import SimulatedServer, ToolCall

CALL = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


class Address(BaseModel):
    street: str
    number: int


class Person(BaseModel):
    name: str
    addresses: list[Address]
    level: Literal["high", "low"]


@tool
def get_weather(location: str, days: int) -> str:
    """Tell the weather."""
    return f"sunny in {location} for {days}"


@tool
def search(query: str) -> str:
    """Search."""
    return query


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as server:
        yield server


@pytest.fixture(params=["openai", "anthropic"])
def model(request: pytest.FixtureRequest, server: SimulatedServer) -> BaseChatModel:
    if request.param == "openai":
        url = server.openai_url("gpu-1")
        return ChatOpenAI(base_url=url, model="m", api_key="-", stream_usage=True, max_retries=0)
    url = server.anthropic_url("gpu-1")
    return ChatAnthropic(base_url=url, model="m", api_key="-", max_retries=0)


def added(chunks: list[Any]) -> Any:
    full = chunks[0]
    for chunk in chunks[1:]:
        full += chunk
    return full


def check_greeting(message: BaseMessage) -> None:
    assert isinstance(message, AIMessage)
    assert message.text == "gpu-1 says: hello there"
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 2
    assert message.usage_metadata["output_tokens"] == 4
    metadata = message.response_metadata
    assert metadata["model_name"] == "m"
    assert metadata.get("finish_reason", metadata.get("stop_reason")) in ("stop", "end_turn")


async def test_every_way_to_call_gets_the_same(model: BaseChatModel) -> None:
    check_greeting(model.invoke("hello there"))
    check_greeting(await model.ainvoke("hello there"))
    chunks = list(model.stream("hello there"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["gpu-1", " says:", " hello", " there"]
    check_greeting(added(chunks))
    check_greeting(added([chunk async for chunk in model.astream("hello there")]))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_when_the_user_means_it(model: BaseChatModel, streamed: bool) -> None:
    bound = model.bind_tools([search, get_weather])
    question = HumanMessage("What is the weather in 'Rome' for the next 3 days?")
    answer = added(list(bound.stream([question]))) if streamed else bound.invoke([question])
    assert isinstance(answer, AIMessage)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"location": "Rome", "days": 3})
    reason = answer.response_metadata.get("finish_reason", answer.response_metadata.get("stop_reason"))
    assert reason in ("tool_calls", "tool_use")
    result = get_weather.invoke(call)
    assert bound.invoke([question, answer, result]).text == (
        "gpu-1 says: the tool answered sunny in Rome for 3"
    )


def test_a_tool_is_left_alone_when_nobody_asks(model: BaseChatModel) -> None:
    assert model.bind_tools([get_weather]).invoke("hello").text == "gpu-1 says: hello"


def test_several_tools_in_one_turn(model: BaseChatModel) -> None:
    bound = model.bind_tools([search, get_weather])
    for answer in (
        bound.invoke("use get_weather and search"),
        added(list(bound.stream("get_weather, search"))),
    ):
        assert [call["name"] for call in answer.tool_calls] == ["get_weather", "search"]
        assert len({call["id"] for call in answer.tool_calls}) == 2
    one = model.bind_tools([search, get_weather], parallel_tool_calls=False)
    assert len(one.invoke("use get_weather and search").tool_calls) == 1


def test_a_tool_choice_is_obeyed(model: BaseChatModel) -> None:
    tools = [search, get_weather]
    assert model.bind_tools(tools, tool_choice="get_weather").invoke("hello").tool_calls[0]["name"] == (
        "get_weather"
    )
    some = model.bind_tools(tools, tool_choice="any")
    first = some.invoke("hello")
    assert first.tool_calls[0]["name"] == "search"
    done = ToolMessage("found", tool_call_id=str(first.tool_calls[0]["id"]))
    assert some.invoke([HumanMessage("hello"), first, done]).tool_calls[0]["name"] == "get_weather"


def test_a_reply_may_be_tool_calls(server: SimulatedServer, model: BaseChatModel) -> None:
    server.behave("gpu-1", reply=[ToolCall("search", {"query": "q"}), ToolCall("search", {})])
    bound = model.bind_tools([search])
    for answer in (bound.invoke("hello"), added(list(bound.stream("hello")))):
        assert [call["args"] for call in answer.tool_calls] == [{"query": "q"}, {}]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_fits_the_schema(model: BaseChatModel, method: str) -> None:
    structured = model.with_structured_output(Person, method=method)
    for person in (
        structured.invoke("Make 'Ann' live at 7"),
        list(structured.stream("Make 'Ann' live at 7"))[-1],
    ):
        assert isinstance(person, Person)
        assert (person.name, person.level, person.addresses[0].number) == ("Ann", "high", 7)


def test_length_and_stop_sequences_cut(model: BaseChatModel) -> None:
    for answer in (model.invoke("a b c d", max_tokens=4), added(list(model.stream("a b c d", max_tokens=4)))):
        assert answer.text == "gpu-1 says: a b"
        reason = answer.response_metadata.get("finish_reason", answer.response_metadata.get("stop_reason"))
        assert reason in ("length", "max_tokens")
    assert model.invoke("a b c d", stop=[" c", " b"]).text == "gpu-1 says: a"


def test_several_choices(server: SimulatedServer) -> None:
    url = f"{server.openai_url()}/chat/completions"
    answer = httpx.post(url, json=CALL | {"n": 3}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 9


def test_usage_is_streamed_only_on_request(server: SimulatedServer) -> None:
    url = f"{server.openai_url()}/chat/completions"
    bare = httpx.post(url, json=CALL | {"stream": True}).text
    asked = httpx.post(url, json=CALL | {"stream": True, "stream_options": {"include_usage": True}}).text
    assert "usage" not in bare
    assert asked.count('"prompt_tokens":1') == 1
    assert bare.endswith("data: [DONE]\n\n")


def test_every_anthropic_event_is_there(server: SimulatedServer) -> None:
    body = CALL | {"stream": True, "max_tokens": 9}
    lines = httpx.post(f"{server.anthropic_url()}/v1/messages", json=body).text.splitlines()
    assert [line.removeprefix("event: ") for line in lines if line.startswith("event: ")] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"model": "m", "messages": []}),
        ("/v1/messages", CALL),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": "hello"}),
        ("/v1/embeddings", {"model": "m"}),
    ],
)
def test_nonsense_is_a_400(server: SimulatedServer, path: str, body: dict[str, Any]) -> None:
    response = httpx.post(server.url + path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


# -- embeddings ------------------------------------------------------------


def near(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_vectors_are_a_function_of_the_text(server: SimulatedServer) -> None:
    url = server.openai_url("embed")
    model = OpenAIEmbeddings(base_url=url, api_key="-", max_retries=0, check_embedding_ctx_length=False)
    dog, again, bites, other = model.embed_documents(
        ["dog bites man", "dog bites man", "man bites dog", "quite another thing"]
    )
    assert dog == again == await model.aembed_query("dog bites man")
    assert len(dog) == 256
    assert math.hypot(*dog) == pytest.approx(1, abs=1e-5)
    assert 0.8 < near(dog, bites) < 0.999
    assert abs(near(dog, other)) < 0.3


def test_vectors_from_token_ids_and_as_plain_numbers(server: SimulatedServer) -> None:
    url = f"{server.openai_url()}/embeddings"
    answer = httpx.post(url, json={"model": "m", "input": [[1, 2, 3], [1, 2, 3]], "dimensions": 8}).json()
    first, second = (item["embedding"] for item in answer["data"])
    assert first == second
    assert len(first) == 8
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    one = httpx.post(url, json={"model": "m", "input": [1, 2, 3], "dimensions": 8}).json()
    assert [item["embedding"] for item in one["data"]] == [first]
