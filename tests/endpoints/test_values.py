"""Values as bytes: what comes back is what was given, and bytes of others build nothing."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from langchain_cluster.endpoints.blocks import Uncacheable
from langchain_cluster.endpoints.canonical import digest
from langchain_cluster.endpoints.values import ValueCodec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary(max_size=9)
)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner),
    max_leaves=9,
)
DOCUMENTS = st.builds(Document, TEXT, metadata=st.dictionaries(TEXT, JSON), id=st.none() | TEXT)
SAID = st.builds(HumanMessage, TEXT, name=st.none() | TEXT)
VALUES = JSON | DOCUMENTS | SAID | st.lists(st.tuples(DOCUMENTS, st.floats(0, 1)))
MESSAGES: list[Any] = [
    AIMessage("hi", tool_calls=[{"name": "f", "args": {"x": (1,)}, "id": "1", "type": "tool_call"}], id="a"),
    AIMessage([{"type": "text", "text": "x"}], response_metadata={"a": 1}, additional_kwargs={"b": [None]}),
    HumanMessage("hi", id="1", name="n"),
    SystemMessage("s"),
    ToolMessage([{"type": "text", "text": "x"}], tool_call_id="1", artifact={"a": (1, b"x")}),
    ChatMessage("x", role="r"),
    FunctionMessage("x", name="f"),
    RemoveMessage("7"),
]
codec = ValueCodec()


@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    back = codec.decode(codec.encode(value))
    assert back == value
    assert repr(back) == repr(value)  # a tuple is no list, and 1 is not True


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_so_do_messages_of_every_kind(message: Any) -> None:
    back = codec.decode(codec.encode([message, {"m": message}]))
    assert back == [message, {"m": message}]
    assert type(back[0]) is type(message)


def test_chunks_come_back_as_the_message_they_make() -> None:
    assert codec.decode(codec.encode(AIMessageChunk("a", id="1") + AIMessageChunk("b"))) == AIMessage(
        "ab", id="1"
    )
    assert codec.decode(codec.encode(AddableDict(a=AIMessageChunk("a")))) == {"a": AIMessage("a")}


class Own(str):
    """A text that is more than one."""


class OwnDocument(Document):
    """A document that is more than one."""


@pytest.mark.parametrize(
    "value",
    [
        object(), float("inf"), {1: 2}, {"a": {1}}, Own("x"), OwnDocument(page_content="x"), "\ud800", 2**64,
        ["\x00lc", "tuple", []], date(2024, 1, 1), ToolMessage("x", tool_call_id="1", artifact=object()),
        ToolMessage("x", tool_call_id="1", status="error"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        codec.encode(value)


def test_what_goes_round_in_circles_or_too_deep_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(TypeError, match="too deep"):
        codec.encode(circle)
    with pytest.raises(Uncacheable):
        digest(circle)
    with pytest.raises(ValueError):
        codec.decode(b"S\x01" + b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(ValueError):
        codec.decode(b"S\x01" + b"[" * 990 + b"]" * 990)


@given(st.binary())
def test_any_bytes_are_a_value_or_a_value_error(raw: bytes) -> None:
    for bytes_ in (raw, b"S\x01" + raw, b'S\x01["\\u0000lc",' + raw + b"]"):
        try:
            codec.decode(bytes_)
        except ValueError:
            pass


@pytest.mark.parametrize(
    "raw",
    [
        b'["\\u0000lc"]', b'["\\u0000lc","os","x"]', b'["\\u0000lc","AIMessage",3]',
        b'["\\u0000lc","AIMessage",{"content":3}]', b'["\\u0000lc","document",["x"]]',
        b'["\\u0000lc","document",["x",3,null]]', b'["\\u0000lc","bytes","!"]', b'["\\u0000lc",[],1]',
        b'["\\u0000lc","HumanMessage",{"content":"x","type":"ai"}]',
    ],
)  # fmt: skip
def test_bytes_cannot_name_what_is_built(raw: bytes) -> None:
    with pytest.raises(ValueError):
        codec.decode(b"S\x01" + raw)


# -- the canonical form -----------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Other(Enum):
    RED = "red"


class Fields(BaseModel):
    x: int = 1


@dataclasses.dataclass
class Data:
    x: int = 1


DIFFERENT = [
    None, 0, False, 0.0, "", "0", [], (), {}, set(), b"", b"0", ["a"], ("a",), {"a": None}, {"a", "b"},
    Colour.RED, Other.RED, "red", date(2024, 1, 2), "2024-01-02", Decimal("1"), UUID(int=1),
    Fields(), Fields(x=2), Data(), Data(2), Document("a"), Document("a", id="1"), HumanMessage("a"),
    Document("a", metadata={"b": 1}),
    SystemMessage("a"), ["list"], [["list"]], ["dict", {}], StringPromptValue(text="b"), "b",
    ChatPromptValue(messages=[SystemMessage("b")]),
]  # fmt: skip


def test_different_inputs_have_different_digests() -> None:
    digests = [digest(value) for value in DIFFERENT]
    assert len(set(digests)) == len(DIFFERENT)


def test_equal_inputs_have_one() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"})
    assert digest(HumanMessage("a", id="1")) == digest(HumanMessage("a", id="2"))
    assert digest(AddableDict(a=1)) == digest({"a": 1})


@pytest.mark.parametrize(
    "value", [object(), iter("a"), {1: 2}, float("nan"), "\ud800", 2**64, int, len], ids=repr
)
def test_what_has_no_form_has_no_digest(value: Any) -> None:
    with pytest.raises(Uncacheable):
        digest([value])
