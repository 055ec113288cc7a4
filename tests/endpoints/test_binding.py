"""Tools and answer formats: bound once, and spelled for each endpoint as its own model would spell them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy
from langchain_cluster.endpoints.binding import Format, ToolSet, Translator
from langchain_cluster.endpoints.structured import ClusteredBinding
from langchain_cluster.testing import ScriptedModel, SimulatedServer
from tests.endpoints.asking import message_of

Make = Callable[..., Any]


@tool
def get_weather(place: str, days: int = 1) -> str:
    """The weather at a place."""
    return f"{place} {days}"


def get_time(zone: str) -> str:
    """The time in a zone.

    Args:
        zone: of the day.
    """
    return zone


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class Pun(TypedDict):
    """A pun."""

    text: str


SCHEMA = {
    "title": "riddle",
    "description": "A riddle.",
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
}
AS_OPENAI = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look.",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
AS_ANTHROPIC = {
    "name": "look",
    "description": "Look.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}
SHAPES = [[get_weather], [get_time], [Joke], [AS_OPENAI], [AS_ANTHROPIC], [get_weather, get_time, Joke]]


def cluster(model: Any) -> ClusteredLLM:
    return ClusteredLLM([Endpoint("gpu-1", model)], policy=Policy(attempts=1))


def bodies(server: SimulatedServer, *asked: Any) -> list[dict[str, Any]]:
    """What the server was sent by each of these."""
    found = []
    for ask in asked:
        server.clear_log()
        ask.invoke("the weather in Rome")
        (seen,) = server.seen("gpu-1")
        found.append(seen.body)
    return found


# -- tools ------------------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {},
    {"tool_choice": "auto"},
    {"tool_choice": "any"},
    {"tool_choice": "get_weather"},
    {"strict": True},
    {"parallel_tool_calls": False},
    {"tool_choice": "any", "parallel_tool_calls": False},
    {"tool_choice": "any", "strict": True},
    {"temperature": 0.5},
    {"max_tokens": 77},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_each_provider_is_sent_what_its_own_model_sends(
    options: dict[str, Any], server: SimulatedServer, make: Make
) -> None:
    ours, bare = bodies(
        server,
        cluster(make()).bind_tools([get_weather, get_time], **options),
        make().bind_tools([get_weather, get_time], **options),
    )
    assert ours == bare


@pytest.mark.parametrize("tools", SHAPES, ids=lambda tools: type(tools[0]).__name__ + str(len(tools)))
def test_tools_of_every_shape(tools: list[Any], server: SimulatedServer, make: Make) -> None:
    ours, bare = bodies(server, cluster(make()).bind_tools(tools), make().bind_tools(tools))
    assert ours == bare


NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize("choice", ["required", "any", "none", False, "get_weather", NAMED], ids=repr)
def test_a_choice_in_openais_words(choice: Any, server: SimulatedServer, openai: Make) -> None:
    tools = [get_weather, get_time]
    ours, bare = bodies(
        server,
        cluster(openai()).bind_tools(tools, tool_choice=choice),
        openai().bind_tools(tools, tool_choice=choice),
    )
    assert ours == bare


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ("required", {"type": "any"}),
        (True, {"type": "any"}),
        (False, None),
        ("none", {"type": "none"}),
        (NAMED, {"type": "tool", "name": "get_weather"}),
    ],
    ids=repr,
)
def test_a_choice_in_openais_words_reaches_anthropic_in_its_own(
    choice: Any, meant: Any, server: SimulatedServer, anthropic: Make
) -> None:
    (ours,) = bodies(server, cluster(anthropic()).bind_tools([get_weather], tool_choice=choice))
    assert ours.get("tool_choice") == meant


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, NAMED),
    ],
    ids=repr,
)
def test_a_choice_in_anthropics_words_reaches_openai_in_its_own(
    choice: Any, meant: Any, server: SimulatedServer, openai: Make
) -> None:
    (ours,) = bodies(server, cluster(openai()).bind_tools([get_weather], tool_choice=choice))
    assert ours.get("tool_choice") == meant


def test_one_binding_serves_both(server: SimulatedServer, openai: Make, anthropic: Make) -> None:
    llm = ClusteredLLM([Endpoint("a", openai("a")), Endpoint("b", anthropic("b"))], balancer="round_robin")
    bound = llm.bind_tools([get_weather], tool_choice="any")
    answers = [bound.invoke("the weather in Rome") for _ in range(4)]
    assert {server.seen(name)[0].path for name in "ab"} == {"/a/v1/chat/completions", "/b/v1/messages"}
    assert server.count("a") == server.count("b") == 2
    for answer in answers:
        (call,) = answer.tool_calls
        assert call["name"] == "get_weather"
        assert set(call["args"]) >= {"place"}


def test_a_binding_reads_as_openais_for_whoever_looks(openai: Make) -> None:
    bound: Any = cluster(openai()).bind_tools([get_weather], tool_choice="any")
    assert [made["function"]["name"] for made in bound.kwargs["tools"]] == ["get_weather"]
    assert json.dumps(bound.kwargs["tools"])
    assert bound.kwargs["tool_choice"] == "any"


def test_plain_bound_tools_are_left_as_they_are(server: SimulatedServer, make: Make) -> None:
    plain = make().bind_tools([get_weather]).kwargs["tools"]
    (ours,) = bodies(server, cluster(make()).bind(tools=plain))
    assert ours["tools"] == plain


def test_a_model_without_tools_is_given_openais_spelling() -> None:
    class Toolless(ScriptedModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    model = Toolless("a")
    cluster(model).bind_tools([get_weather], tool_choice="any").invoke("hi")
    (arguments,) = model.arguments
    assert arguments["tools"][0]["function"]["name"] == "get_weather"
    assert arguments["tool_choice"] == "any"


# -- what LangChain's own bindings forget ------------------------------------------------------------


def test_binding_on_a_binding_keeps_what_was_bound(server: SimulatedServer, make: Make) -> None:
    llm = cluster(make())
    (body,) = bodies(server, llm.bind(temperature=0.25).bind_tools([get_weather]).bind(top_p=0.5))
    assert (body["temperature"], body["top_p"]) == (0.25, 0.5)
    assert body["tools"]


def test_a_config_is_kept_too() -> None:
    llm = cluster(ScriptedModel("a"))
    bound: Any = llm.with_config(tags=["mine"], metadata={"a": 1}).bind_tools([get_weather])
    assert isinstance(bound, ClusteredBinding)
    assert bound.config["tags"] == ["mine"]
    assert bound.config["metadata"] == {"a": 1}
    again: Any = bound.with_config(run_name="named").bind(x=1)
    assert isinstance(again, ClusteredBinding)
    assert again.config["tags"] == ["mine"]
    assert again.config["run_name"] == "named"
    assert set(again.kwargs) == {"tools", "x"}


def test_structured_output_on_a_binding_keeps_what_was_bound(server: SimulatedServer, make: Make) -> None:
    llm: Any = cluster(make())
    for method in ("function_calling", "json_schema"):
        (body,) = bodies(server, llm.bind(temperature=0.25).with_structured_output(Joke, method=method))
        assert body["temperature"] == 0.25


def test_an_agents_view_of_a_binding_keeps_it() -> None:
    bound: Any = cluster(ScriptedModel("a")).bind(x=1).for_agent("planner")
    assert bound.bound.agent == "planner"
    assert bound.kwargs == {"x": 1}


def test_stop_and_tool_choice_may_be_bound_later(server: SimulatedServer, make: Make) -> None:
    bound: Any = cluster(make()).bind_tools([get_weather, get_time])
    ours, bare = bodies(
        server,
        bound.bind(tool_choice="auto" if make().__class__.__name__ == "ChatOpenAI" else {"type": "auto"}),
        make().bind_tools([get_weather, get_time], tool_choice="auto"),
    )
    assert ours == bare


# -- structured output -------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [Joke, Pun, SCHEMA], ids=["pydantic", "typeddict", "json"])
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("strict", [None, True])
def test_each_provider_is_sent_the_format_its_own_model_sends(
    strict: bool | None, method: Any, schema: Any, server: SimulatedServer, make: Make
) -> None:
    options: dict[str, Any] = {} if strict is None else {"strict": strict}
    if make().__class__.__name__ == "ChatAnthropic" and method == "json_schema":
        options = {}  # it has no such word
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, bare = bodies(
            server,
            cluster(make()).with_structured_output(schema, method=method, **options),
            make().with_structured_output(schema, method=method, **options),
        )
    if "response_format" in bare:  # the SDK makes a class strict whether one asks or not
        ours["response_format"]["json_schema"].pop("strict", None)
        bare["response_format"]["json_schema"].pop("strict", None)
    tolerant(ours)
    tolerant(bare)
    assert ours == bare


def tolerant(value: Any) -> None:
    """Forget what only words a schema: titles, descriptions, and what strictness adds."""
    if isinstance(value, dict):
        for name in ("additionalProperties", "description", "title"):
            if not isinstance(value.get(name), dict):
                value.pop(name, None)
        for inner in value.values():
            tolerant(inner)
    elif isinstance(value, list):
        for inner in value:
            tolerant(inner)


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_an_answer_is_parsed(method: Any, server: SimulatedServer, make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = "tell, as JSON with 'setup' and 'punchline' keys"
        answer = cluster(make()).with_structured_output(Joke, method=method).invoke(said)
    assert isinstance(answer, Joke)
    assert answer.setup


@pytest.mark.parametrize("schema", [Joke, Pun, SCHEMA, None], ids=["pydantic", "typeddict", "json", "none"])
@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_a_raw_answer_comes_along(method: Any, schema: Any, server: SimulatedServer, make: Make) -> None:
    if schema is None and method != "json_mode":
        with pytest.raises(ConfigError, match="schema"):
            cluster(make()).with_structured_output(schema, method=method)
        return
    llm = cluster(make()).with_structured_output(schema, method=method, include_raw=True)
    answer: Any = llm.invoke("tell, as JSON with 'setup' and 'punchline' and 'question' and 'text' keys")
    assert set(answer) == {"raw", "parsed", "parsing_error"}
    assert isinstance(answer["raw"], AIMessage)
    if not (schema is None and make().__class__.__name__ == "ChatAnthropic"):  # it has no mode of the kind
        assert answer["parsing_error"] is None
        assert answer["parsed"]


def test_a_raw_answer_that_is_none_raises_nothing(server: SimulatedServer, openai: Make) -> None:
    server.behave("odd", reply='{"setup": 1}')
    llm = ClusteredLLM([Endpoint("odd", openai("odd"))])
    structured = llm.with_structured_output(Joke, method="json_schema", include_raw=True)
    answer: Any = structured.invoke("tell")
    assert answer["parsed"] is None
    assert answer["parsing_error"] is not None
    assert answer["raw"].content == '{"setup": 1}'


def test_a_refusal_of_the_sdk_to_parse_is_not_the_endpoints_fault(
    server: SimulatedServer, openai: Make, asking: Any
) -> None:
    """The OpenAI SDK parses, and raises on what it cannot: then an answer would be an endpoint's error."""
    server.behave("gpu-1", reply="no JSON at all")
    try:
        outcome = asking(openai()).ask("call", response_format=Format(Joke, "json_schema", None))
        assert message_of(outcome).content == "no JSON at all"
    finally:
        server.behave("gpu-1", reply=None)


@pytest.mark.parametrize("method", ["json", "yaml", ""])
def test_an_unknown_method_is_told_what_there_is(method: Any) -> None:
    with pytest.raises(ConfigError, match="expected one of function_calling, json_schema, json_mode"):
        cluster(ScriptedModel("a")).with_structured_output(Joke, method=method)


def test_a_model_that_knows_no_format_is_given_openais() -> None:
    model = ScriptedModel('{"setup": "a", "punchline": "b"}')
    answer = cluster(model).with_structured_output(Joke, method="json_schema").invoke("tell")
    assert answer == Joke(setup="a", punchline="b")
    wanted = model.arguments[0]["response_format"]
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["name"] == "Joke"
    assert type(wanted) is dict


# -- arguments only one provider has -------------------------------------------------------------------

ONE_SIDED: dict[str, Any] = {
    "parallel_tool_calls": False, "seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.5,
    "logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 1}, "reasoning_effort": "low",
    "verbosity": "low", "user": "u",
    "prompt_cache_key": "k", "n": 1,
}  # fmt: skip
ANTHROPICS: dict[str, Any] = {
    "thinking": {"type": "disabled"},
    "cache_control": {"type": "ephemeral"},
    "top_k": 5,
}


@pytest.mark.parametrize("name", ONE_SIDED)
def test_what_only_openai_has_does_not_reach_anthropic(
    name: str, server: SimulatedServer, openai: Make, anthropic: Make
) -> None:
    given = {name: ONE_SIDED[name]}
    theirs, ours = bodies(server, cluster(anthropic()).bind(**given), cluster(openai()).bind(**given))
    assert name not in theirs
    assert ours[name] == given[name]


@pytest.mark.parametrize("name", ANTHROPICS)
def test_what_only_anthropic_has_does_not_reach_openai(
    name: str, server: SimulatedServer, openai: Make, anthropic: Make
) -> None:
    given = {name: ANTHROPICS[name]}
    theirs, bare, ours = bodies(
        server, cluster(anthropic()).bind(**given), anthropic().bind(**given), cluster(openai()).bind(**given)
    )
    assert theirs == bare
    assert name not in ours


@pytest.mark.parametrize(
    ("given", "openais", "anthropics"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0.5}, {"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 0.5}, {"top_p": 0.5}, {"top_p": 0.5}),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}, {"stop_sequences": ["x"]}),
    ],
    ids=repr,
)
def test_what_both_have_reaches_both(
    given: Any, openais: Any, anthropics: Any, server: SimulatedServer, openai: Make, anthropic: Make
) -> None:
    ours, theirs = bodies(server, cluster(openai()).bind(**given), cluster(anthropic()).bind(**given))
    assert ours.items() >= openais.items()
    assert theirs.items() >= anthropics.items()


# -- memory ------------------------------------------------------------------------------------------


class Counting(ScriptedModel):
    """Counts how often tools are bound to it."""

    binds: int = 0

    def bind_tools(self, tools: Any, **kwargs: Any) -> RunnableBinding[Any, Any]:
        self.binds += 1
        bound: Any = super().bind_tools(tools, **kwargs)
        return bound  # type: ignore[no-any-return]


def test_a_translation_is_worked_out_once_though_agents_bind_on_every_call() -> None:
    model = Counting("a")
    llm = cluster(model)
    for _ in range(5):
        llm.bind_tools([get_weather, get_time], tool_choice="any").invoke("hi")
    assert model.binds == 1
    llm.bind_tools([get_weather, get_time], tool_choice="auto").invoke("hi")
    llm.bind_tools([get_time]).invoke("hi")
    llm.bind_tools([get_time], strict=True).invoke("hi")
    assert model.binds == 4


def test_what_is_remembered_is_bounded_and_never_mistaken() -> None:
    translator, model = Translator(), Counting("a")
    for number in range(300):
        made: dict[str, Any] = {
            "title": f"tool{number}",
            "description": "x",
            "type": "object",
            "properties": {},
        }
        translated = translator.translate(model, {"tools": ToolSet([made], {})})
        assert translated["tools"] == [made], "the same address, another tool"
    assert len(translator._known) <= 128


def test_a_translation_handed_out_may_be_changed() -> None:
    translator, model = Translator(), Counting("a")
    asked = {"tools": ToolSet([get_weather], {})}
    translator.translate(model, asked)["tools"].clear()
    assert translator.translate(model, asked)["tools"] == [get_weather]


def test_arguments_without_tools_are_only_copied() -> None:
    given = {"a": 1, "ls_structured_output_format": {}}
    assert Translator().translate(ScriptedModel("a"), given) == {"a": 1}
    assert "ls_structured_output_format" in given


def test_it_is_a_chat_model_for_those_who_ask() -> None:
    assert isinstance(cluster(ScriptedModel("a")), BaseChatModel)
