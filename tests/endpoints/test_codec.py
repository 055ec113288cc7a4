"""Answers as bytes: what goes in comes out, shared with nobody, and nothing is ever unpickled."""

from __future__ import annotations

import ast
import inspect
import pickle
import zlib
from base64 import b64encode
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_cluster.endpoints import codec as codec_module
from langchain_cluster.endpoints.codec import AnswerCodec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT
FINITE = SCALAR.filter(lambda value: value not in (float("inf"), float("-inf")))
JSON = st.recursive(
    FINITE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
NOTES = st.dictionaries(TEXT.filter(lambda name: name != "parsed"), JSON, max_size=3)
BLOCKS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}), max_size=3)


def result(message: AIMessage, info: Any = None, llm_output: Any = None) -> ChatResult:
    return ChatResult(
        generations=[ChatGeneration(message=message, generation_info=info)], llm_output=llm_output
    )


def told(answer: ChatResult) -> Any:
    message = answer.generations[0].message
    return message.content, message.additional_kwargs, message.response_metadata, message.name


@given(TEXT | BLOCKS, NOTES, NOTES, st.none() | TEXT, NOTES)
def test_what_goes_in_comes_out(content: Any, extra: Any, metadata: Any, name: Any, info: Any) -> None:
    message = AIMessage(content, additional_kwargs=extra, response_metadata=metadata, name=name)
    codec = AnswerCodec()
    raw = codec.encode(result(message, info))
    for _ in range(2):  # parsed, and remembered
        answer = codec.decode(raw)
        assert told(answer) == told(result(message))
        assert (answer.generations[0].generation_info or {}) == info


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_usage_is_told_and_that_it_cost_nothing_this_time(given: int, used: int) -> None:
    usage: Any = {"input_tokens": given, "output_tokens": used, "total_tokens": given + used}
    codec = AnswerCodec()
    answer: Any = codec.decode(codec.encode(result(AIMessage("a", usage_metadata=usage))))
    assert answer.generations[0].message.usage_metadata == {**usage, "total_cost": 0}


def test_a_stream_that_was_put_together_is_an_answer_like_any_other() -> None:
    chunk = AIMessageChunk(content="hello", response_metadata={"model_name": "m"})
    whole = ChatGenerationChunk(message=chunk, generation_info={"finish_reason": "stop"})
    codec = AnswerCodec()
    message = codec.decode(codec.encode(whole)).generations[0].message
    assert type(message) is AIMessage
    assert (message.content, message.response_metadata) == ("hello", {"model_name": "m"})


def test_what_the_model_said_beside_its_answer_is_kept_with_it() -> None:
    codec = AnswerCodec()
    raw = codec.encode(result(AIMessage("a"), {"finish_reason": "stop"}, {"model_name": "m"}))
    assert codec.decode(raw).generations[0].generation_info == {"model_name": "m", "finish_reason": "stop"}


def test_the_sdks_own_parsed_object_is_left_out() -> None:
    codec = AnswerCodec()
    raw = codec.encode(result(AIMessage("{}", additional_kwargs={"parsed": object(), "refusal": None})))
    assert codec.decode(raw).generations[0].message.additional_kwargs == {"refusal": None}


def test_everybody_gets_an_answer_of_their_own() -> None:
    codec = AnswerCodec()
    deep = {"a": [{"b": 1}]}
    raw = codec.encode(result(AIMessage([{"type": "text", "text": "a"}], response_metadata=deep), {"i": [1]}))
    first = codec.decode(raw)
    message: Any = first.generations[0].message
    message.content[0]["text"] = "changed"
    message.response_metadata["a"][0]["b"] = 2
    message.id = "changed"
    first.generations[0].generation_info["i"].append(2)  # type: ignore[index]
    first.generations.append(first.generations[0])
    second = codec.decode(raw)
    assert told(second)[0] == [{"type": "text", "text": "a"}]
    assert told(second)[2] == {"a": [{"b": 1}]}
    assert second.generations[0].generation_info == {"i": [1]}
    assert second.generations[0].message.id is None
    assert len(second.generations) == 1


def test_what_is_no_json_is_not_stored() -> None:
    with pytest.raises(TypeError):
        AnswerCodec().encode(result(AIMessage("a", response_metadata={"x": object()})))


class Evil:
    """Would tell if it were unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


VERSIONED = [
    b"[]", b"{}", b"null", b"1", b'"x"', b"[1,2]", b"[{}]", b"[{},{},{}]", b"[{},[]]", b"[[],{}]", b"{",
    b'[{"__class__":"os"},{}]', b'[{"id":"x"},{}]', pickle.dumps(Evil()), b"", b"\xff\xfe",
    b'[{"content":1},{}]', b'[{"content":"a","tool_calls":3},{}]', b'[{"content":"a","usage_metadata":3},{}]',
    b'[{"content":"a","usage_metadata":{}},{}]',
]  # fmt: skip


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"{}", b"\x00[{},{}]", b"\x02[{},{}]", pickle.dumps(Evil())], ids=repr
)
def test_foreign_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        AnswerCodec().decode(raw)


@pytest.mark.parametrize("rest", VERSIONED, ids=repr)
def test_bytes_of_the_right_version_with_nonsense_in_them_are_refused(rest: bytes) -> None:
    with pytest.raises(ValueError):
        AnswerCodec().decode(b"\x01" + rest)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_a_value_error(raw: bytes) -> None:
    for tried in (raw, b"\x01" + raw):
        try:
            AnswerCodec().decode(tried)
        except ValueError:
            pass


@given(JSON)
def test_any_json_is_an_answer_or_a_value_error(value: Any) -> None:
    for tried in (value, [value, {}], [{"content": value}, {}], [{"content": "", "tool_calls": value}, {}]):
        try:
            AnswerCodec().decode(b"\x01" + orjson.dumps(tried, option=orjson.OPT_NON_STR_KEYS))
        except ValueError:
            pass


def test_no_pickle_is_imported() -> None:
    tree = ast.parse(inspect.getsource(codec_module))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}


def test_what_is_remembered_is_bounded() -> None:
    codec = AnswerCodec()
    for number in range(3000):
        codec.decode(codec.encode(result(AIMessage(str(number)))))
    assert len(codec._decoded) <= 1024


def test_long_answers_are_not_remembered() -> None:
    codec = AnswerCodec()
    text = b64encode(Random(1).randbytes(40_000)).decode()
    raw = codec.encode(result(AIMessage(text)))
    assert codec.decode(raw).generations[0].text == text
    assert codec._decoded == {}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1_000, 20_000))
def test_long_answers_are_compressed_and_come_out_whole(word: str, times: int) -> None:
    said = f"{word} and so on " * times
    raw = AnswerCodec().encode(result(AIMessage(said)))
    assert len(raw) < len(said) / 10
    assert AnswerCodec().decode(raw).generations[0].text == said


def test_compressed_bytes_that_are_no_answer_are_refused() -> None:
    raw = AnswerCodec().encode(result(AIMessage("x" * 10_000)))
    assert raw[:1] == b"\x02"
    bomb = b"\x02" + zlib.compress(b"0" * (64 * 1024 * 1024 + 1), 1)
    for bad in (raw[:-1], raw + b"x", raw[:1], b"\x02nonsense", b"\x02" + zlib.compress(b"{}"), bomb):
        with pytest.raises(ValueError, match=r"answer|JSON|unexpected"):
            AnswerCodec().decode(bad)
    assert AnswerCodec().encode(result(AIMessage("x" * 1_000)))[:1] == b"\x01", "a short one as it is"
