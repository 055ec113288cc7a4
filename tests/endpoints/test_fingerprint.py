"""The key of a question: the same question the same key, any other question another."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool

from langchain_cluster import Endpoint, Pool, Request
from langchain_cluster.endpoints.binding import Format, ToolSet
from langchain_cluster.endpoints.fingerprint import (
    CacheKeys,
    _all_parts,
    fingerprint,
    identity_of,
    message_parts,
    sampled,
)
from langchain_cluster.testing import FakeClock, ScriptedModel

TEXT = st.text(max_size=12)
SCALAR = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9, allow_nan=False) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
NAMES = st.sampled_from(["temperature", "top_p", "seed", "response_format", "reasoning", "x"])
ARGUMENTS = st.dictionaries(NAMES, VALUE.filter(lambda value: value is not None), max_size=4)
MESSAGES = st.lists(
    st.builds(HumanMessage, TEXT)
    | st.builds(SystemMessage, TEXT)
    | st.builds(AIMessage, TEXT)
    | st.builds(lambda text, id: ToolMessage(text, tool_call_id=id), TEXT, TEXT),
    min_size=1,
    max_size=4,
)


@tool
def look(at: str) -> str:
    """Look."""
    return at


@tool
def hear(at: str) -> str:
    """Hear."""
    return at


def key(messages: Any = "hi", arguments: Any = None, *, stop: Any = None, tenant: str | None = None) -> Any:
    said = [HumanMessage(messages)] if isinstance(messages, str) else messages
    return fingerprint(said, stop, arguments or {}, tenant=tenant)


def copied(messages: list[BaseMessage]) -> list[BaseMessage]:
    return [message.model_copy(deep=True) for message in messages]


# -- properties ---------------------------------------------------------------------------------------


@given(MESSAGES, ARGUMENTS)
def test_the_same_question_has_the_same_key(messages: Any, arguments: Any) -> None:
    first = key(messages, arguments)
    assert first is not None
    assert first == key(copied(messages), dict(reversed(list(arguments.items()))))


@given(MESSAGES, st.dictionaries(TEXT, st.dictionaries(TEXT, SCALAR, max_size=4), max_size=4))
def test_the_order_of_keys_does_not_matter_however_deep(messages: Any, nested: Any) -> None:
    turned = {name: dict(reversed(list(inner.items()))) for name, inner in reversed(list(nested.items()))}
    assert key(messages, {"x": nested}) == key(messages, {"x": turned})


@given(MESSAGES, st.data())
def test_any_change_of_the_text_changes_the_key(messages: Any, data: Any) -> None:
    place = data.draw(st.integers(0, len(messages) - 1))
    changed = copied(messages)
    changed[place].content = data.draw(TEXT.filter(lambda text: text != messages[place].content))
    assert key(messages) != key(changed)


@given(MESSAGES, st.data())
def test_a_message_more_or_less_changes_the_key(messages: Any, data: Any) -> None:
    place = data.draw(st.integers(0, len(messages) - 1))
    assert key(messages) != key(messages[:place] + messages[place + 1 :])
    assert key(messages) != key([*messages, messages[place]])


@given(TEXT, TEXT, TEXT, TEXT)
def test_texts_do_not_run_together(a: str, b: str, c: str, d: str) -> None:
    if (a, b) != (c, d):
        assert key([HumanMessage(a), HumanMessage(b)]) != key([HumanMessage(c), HumanMessage(d)])


@given(ARGUMENTS, NAMES, VALUE)
def test_any_change_of_a_parameter_changes_the_key(arguments: Any, name: str, value: Any) -> None:
    before = arguments.get(name)
    if value is None or repr(value) == repr(before) or value == before:
        return
    assert key("hi", arguments) != key("hi", {**arguments, name: value})


@given(MESSAGES, st.text(max_size=5), st.text(max_size=5))
@settings(max_examples=50)
def test_tenants_and_stops_are_told_apart(messages: Any, one: str, other: str) -> None:
    if one != other:
        assert key(messages, tenant=one) != key(messages, tenant=other)
        assert key(messages, stop=[one]) != key(messages, stop=[other])
    assert key(messages, tenant=one) != key(messages)
    assert key(messages, stop=[one]) != key(messages)


@given(MESSAGES, st.dictionaries(TEXT, SCALAR, max_size=3), TEXT)
def test_what_a_provider_adds_to_a_message_does_not_matter(messages: Any, noise: Any, id: str) -> None:
    noisy = copied(messages)
    for message in noisy:
        message.id = id
        message.response_metadata = dict(noise)
        if isinstance(message, AIMessage):
            message.usage_metadata = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert key(messages) == key(noisy)


# -- examples -----------------------------------------------------------------------------------------


def test_roles_names_and_calls_are_told_apart() -> None:
    call = {"name": "look", "args": {"at": "a"}, "id": "1", "type": "tool_call"}
    broken: Any = {"name": "look", "id": "1", "error": None, "type": "invalid_tool_call"}
    questions: list[BaseMessage] = [
        HumanMessage("a"),
        SystemMessage("a"),
        AIMessage("a"),
        HumanMessage("a", name="ann"),
        HumanMessage("a", name="bob"),
        ChatMessage("a", role="judge"),
        ChatMessage("a", role="critic"),
        ToolMessage("a", tool_call_id="1"),
        ToolMessage("a", tool_call_id="2"),
        ToolMessage("a", tool_call_id="1", status="error"),
        AIMessage("a", tool_calls=[call]),
        AIMessage("a", tool_calls=[{**call, "args": {"at": "b"}}]),
        AIMessage("a", tool_calls=[{**call, "name": "hear"}]),
        AIMessage("a", invalid_tool_calls=[{**broken, "args": "{"}]),
        AIMessage("a", invalid_tool_calls=[{**broken, "args": "["}]),
        AIMessage("a", additional_kwargs={"function_call": {"name": "look", "arguments": "1"}}),
        AIMessage("a", additional_kwargs={"function_call": {"name": "look", "arguments": "2"}}),
        SystemMessage("a", additional_kwargs={"__openai_role__": "developer"}),
    ]
    keys = [key([question]) for question in questions]
    assert None not in keys
    assert len(set(keys)) == len(questions)


def test_tools_and_formats_are_told_apart() -> None:
    schema = {"title": "joke", "type": "object", "properties": {"setup": {"type": "string"}}}
    other = {"title": "joke", "type": "object", "properties": {"punchline": {"type": "string"}}}
    asked: list[dict[str, Any]] = [
        {},
        {"tools": ToolSet([look], {})},
        {"tools": ToolSet([hear], {})},
        {"tools": ToolSet([look, hear], {})},
        {"tools": ToolSet([hear, look], {})},
        {"tools": ToolSet([look], {"strict": True})},
        {"tools": ToolSet([look], {}), "tool_choice": "any"},
        {"tools": ToolSet([look], {}), "tool_choice": "none"},
        {"response_format": Format(schema, "json_schema", None)},
        {"response_format": Format(other, "json_schema", None)},
        {"response_format": Format(schema, "json_schema", True)},
        {"response_format": Format(schema, "json_mode", None)},
        {"response_format": Format(other, "json_mode", None)},
        {"response_format": Format(None, "json_mode", None)},
    ]
    keys = [key("hi", arguments) for arguments in asked]
    assert None not in keys
    assert len(set(keys)) == len(asked)
    assert key("hi", {"tools": ToolSet([look], {})}) == key("hi", {"tools": ToolSet([look], {})})


@pytest.mark.parametrize(
    "name",
    ["timeout", "stream", "stream_usage", "max_retries", "extra_headers", "metadata", "user", "run_id"],
)
def test_how_it_is_asked_does_not_matter(name: str) -> None:
    assert key("hi", {name: "x"}) == key("hi")


def test_numbers_as_names_are_the_texts_they_are_sent_as() -> None:
    assert key("hi", {"logit_bias": {50256: -100}}) == key("hi", {"logit_bias": {"50256": -100}}) is not None
    assert key("hi", {"logit_bias": {50257: -100}}) != key("hi", {"logit_bias": {50256: -100}})


def test_an_unknown_parameter_matters() -> None:
    assert key("hi", {"brand_new": 1}) != key("hi")
    assert key("hi", {"brand_new": None}) == key("hi"), "None is what was not given"


PIXEL = base64.b64encode(b"a picture").decode()
OTHER = base64.b64encode(b"another picture").decode()


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{OTHER}"}},
        ),
        (
            {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
            {"mime_type": "image/png", "base64": PIXEL, "type": "image", "id": "noise"},
            {"type": "image", "base64": PIXEL, "mime_type": "image/gif"},
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": OTHER}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"format": "wav", "data": PIXEL}},
            {"type": "input_audio", "input_audio": {"data": OTHER, "format": "wav"}},
        ),
        (
            {"type": "text", "text": "a"},
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "id": "1", "index": 0},
            {"type": "text", "text": "b"},
        ),
        (
            {"type": "tool_use", "name": "look", "input": {"at": 1}, "id": "1"},
            {"type": "tool_use", "name": "look", "input": {"at": 1}, "id": "1", "cache_control": {}},
            {"type": "tool_use", "name": "look", "input": {"at": 2}, "id": "1"},
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
            {"type": "image_url", "image_url": {"detail": "low", "url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}},
        ),
    ],
    ids=lambda block: str(block["type"]),
)
def test_blocks_by_what_they_show(one: Any, same: Any, other: Any) -> None:
    first = key([HumanMessage([one])])
    assert first is not None
    assert first == key([HumanMessage([same])])
    assert first != key([HumanMessage([other])])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "brand_new", "x": 1},
        {"x": 1},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "file", "file_id": "file-1"},
        {"type": "image", "base64": "not base64 !"},
    ],
    ids=repr,
)
def test_what_cannot_be_told_faithfully_is_not_cached(block: Any) -> None:
    assert key([HumanMessage([block])]) is None


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: None, b"x"], ids=lambda v: type(v).__name__)
def test_a_parameter_that_is_no_json_is_not_guessed_from_its_repr(value: Any) -> None:
    assert key("hi", {"x": value}) is None


def test_the_short_way_to_a_plain_message_gives_the_same_parts() -> None:
    call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    bad = {"name": "f", "args": "{", "id": "1", "error": None, "type": "invalid_tool_call"}
    messages = [
        HumanMessage("a"), HumanMessage("a", name="n"), SystemMessage("a"), AIMessage("a"),
        AIMessage("a", tool_calls=[call]), AIMessage("a", invalid_tool_calls=[bad]),
        ChatMessage("a", role="r"),
        ToolMessage("a", tool_call_id="1"), FunctionMessage("a", name="f"),
        HumanMessage([{"type": "text", "text": "a"}]), AIMessage("a", additional_kwargs={"name": "x"}),
        AIMessageChunk("a"), HumanMessage("a", additional_kwargs={"noise": 1}),
    ]  # fmt: skip
    assert [list(parts) for parts in _all_parts(messages)] == [message_parts(m) for m in messages]


def test_several_answers_are_not_cached() -> None:
    assert key("hi", {"n": 2}) is None
    assert key("hi", {"n": 1}) is not None


def test_chance_is_told_from_certainty() -> None:
    assert sampled({"temperature": 0.7})
    assert not sampled({"temperature": 0})
    assert not sampled({})


# -- whose answer it may be -----------------------------------------------------------------------------


def keys_of(*endpoints: Endpoint, tenant: str | None = None, **wanted: Any) -> tuple[str, ...]:
    request = Request(fingerprint="digest", tenant=tenant, **wanted)
    return CacheKeys(Pool(endpoints, clock=FakeClock())).all(request)


def test_endpoints_of_one_model_answer_for_each_other() -> None:
    alike = [Endpoint(name, ScriptedModel("x")) for name in "ab"]
    assert len(keys_of(*alike)) == 1
    other = Endpoint("c", ScriptedModel("x", model_name="another"))
    assert len(keys_of(*alike, other)) == 2
    assert len(keys_of(alike[0], Endpoint("c", ScriptedModel("x").bind(top_p=0.5)))) == 2
    said = Endpoint("c", ScriptedModel("x", model_name="another"), identity="m")
    assert len(keys_of(said, Endpoint("d", ScriptedModel("y"), identity="m"))) == 1


@pytest.mark.parametrize(
    "setting", [{"num_predict": 5}, {"num_ctx": 512}, {"format": "json"}, {"repeat_penalty": 1.5}], ids=repr
)
def test_a_setting_of_any_provider_makes_another_model(setting: Any) -> None:
    ollama = pytest.importorskip("langchain_ollama").ChatOllama
    plain, set_so = Endpoint("a", ollama(model="m")), Endpoint("b", ollama(model="m", **setting))
    assert len(keys_of(plain, set_so)) == 2


def test_a_request_that_only_some_may_serve_is_answered_by_those() -> None:
    a = Endpoint("a", ScriptedModel("x"), tags={"eu"})  # type: ignore[arg-type]
    b = Endpoint("b", ScriptedModel("x", model_name="another"))
    assert len(keys_of(a, b)) == 2
    assert keys_of(a, b, tags=frozenset({"eu"})) == keys_of(a)


def test_tenants_never_share_a_key() -> None:
    a = Endpoint("a", ScriptedModel("x"))
    assert keys_of(a, tenant="one") != keys_of(a, tenant="other")


def test_a_model_that_is_changed_becomes_another() -> None:
    model = ScriptedModel("x")
    pool = Pool([Endpoint("a", model)], clock=FakeClock())
    keys, request = CacheKeys(pool), Request(fingerprint="digest")
    before = keys.all(request)
    model.model_name = "another"
    assert keys.all(request) != before
    assert keys.of(request, Endpoint("a", model)) == keys.all(request)[0]


def test_what_is_not_cacheable_has_no_key() -> None:
    assert CacheKeys(Pool([Endpoint("a", ScriptedModel())], clock=FakeClock())).all(Request()) == ()


def test_an_identity_holds_no_secret(openai: Any) -> None:
    told = identity_of(Endpoint("a", openai("gpu-1", api_key="sk-very-secret")))
    assert "sk-very-secret" not in told
    assert "ChatOpenAI" in told
