"""Blocks of content in a key: every part that is shown counts, and what is only pointed at is not cached."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.messages.tool import tool_call_chunk

from langchain_cluster.endpoints.fingerprint import fingerprint

DATA = base64.b64encode(b"bytes").decode()
PLAIN = {"type": "text-plain", "mime_type": "text/plain"}
IMAGE = {"type": "image", "base64": DATA, "mime_type": "image/png"}


def key(*blocks: Any) -> str | None:
    return fingerprint([HumanMessage([{"type": "text", "text": "look"}, *blocks])], None, {}, tenant=None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({**PLAIN, "text": "a"}, {**PLAIN, "text": "b"}),
        ({**PLAIN, "text": "a", "title": "one"}, {**PLAIN, "text": "a", "title": "other"}),
        ({**PLAIN, "text": "a", "context": "one"}, {**PLAIN, "text": "a", "context": "other"}),
        ({**PLAIN, "base64": DATA}, {**PLAIN, "base64": DATA[:-4]}),
        ({**PLAIN, "text": "a"}, {"type": "text", "text": "a"}),
        ({**IMAGE, "extras": {"detail": "low"}}, {**IMAGE, "extras": {"detail": "high"}}),
        (
            {"type": "image_url", "image_url": f"data:image/png;base64,{DATA}"},
            {"type": "image_url", "image_url": f"data:image/gif;base64,{DATA}"},
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": DATA}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}},
        ),
        ({"type": "reasoning", "reasoning": "a"}, {"type": "reasoning", "reasoning": "b"}),
        (
            {"type": "thinking", "thinking": "a", "signature": "s"},
            {"type": "thinking", "thinking": "a", "signature": "t"},
        ),
    ],
    ids=lambda block: f"{block['type']} {next(reversed(block))}",
)
def test_every_part_of_a_block_that_is_shown_counts(one: Any, other: Any) -> None:
    assert key(one) is not None
    assert key(other) is not None
    assert key(one) != key(other)
    assert key(one) == key({**one, "id": "noise", "index": 3, "cache_control": {"type": "ephemeral"}})


@pytest.mark.parametrize(
    "pointer", [{"url": "https://example.com/a.txt"}, {"file_id": "file-1"}, {}], ids=repr
)
def test_a_document_that_is_only_pointed_at_is_not_cached(pointer: Any) -> None:
    assert key({**PLAIN, **pointer}) is None


def test_a_mark_for_a_providers_cache_is_no_part_of_a_picture() -> None:
    marked = {**IMAGE, "extras": {"cache_control": {"type": "ephemeral"}}}
    assert key(marked) == key(IMAGE)


def test_one_text_is_the_same_whether_it_stands_in_a_block_or_not() -> None:
    def alone(content: Any) -> str | None:
        return fingerprint([HumanMessage(content)], None, {}, tenant=None)

    assert alone("hello") == alone([{"type": "text", "text": "hello"}]) != alone(["hello", "hello"])


def test_a_merged_stream_in_a_conversation_is_the_message_it_amounts_to() -> None:
    def after(*said: BaseMessage) -> str | None:
        return fingerprint([HumanMessage("q"), *said], None, {}, tenant=None)

    assert after(AIMessageChunk("yes")) == after(AIMessage("yes")) is not None
    call: Any = {"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}
    chunk = AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name="f", args='{"x":1}', id="1", index=0)])
    whole = after(AIMessage("", tool_calls=[call]), ToolMessage("2", tool_call_id="1"))
    assert after(chunk, ToolMessageChunk("2", tool_call_id="1")) == whole is not None
