"""What messages hold, in all the ways of writing it down, and how much of it there is at least."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_cluster.endpoints.caller import Question
from langchain_cluster.endpoints.content import IMAGE_TOKENS, abilities_for, least_tokens, reserve_of

PNG = {"media_type": "image/png", "data": "aa"}
BLOCKS: list[tuple[Any, str | None]] = [
    ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "vision"),
    ({"type": "image", "url": "https://x/y.png"}, "vision"),
    ({"type": "image", "base64": "aa", "mime_type": "image/png"}, "vision"),
    ({"type": "image", "source_type": "url", "url": "https://x/y.png"}, "vision"),
    ({"type": "image", "source": {"type": "base64", **PNG}}, "vision"),
    ({"type": "input_image", "image_url": "https://x/y.png"}, "vision"),
    ({"type": "media", "mime_type": "image/png", "data": "aa"}, "vision"),
    ({"type": "file", "mime_type": "image/png", "base64": "aa"}, "vision"),
    ({"image": {"format": "png", "source": {"bytes": b"aa"}}}, "vision"),
    ({"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image"}]}, "vision"),
    ({"type": "non_standard", "value": {"type": "image_url"}}, "vision"),
    ({"type": "audio", "base64": "aa", "mime_type": "audio/wav"}, "audio"),
    ({"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}}, "audio"),
    ({"type": "media", "mime_type": "audio/mp3", "data": "aa"}, "audio"),
    ({"type": "video", "url": "https://x/y.mp4"}, "video"),
    ({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}, "video"),
    ({"type": "file", "mime_type": "application/pdf", "base64": "aa"}, "pdf"),
    ({"type": "file", "file": {"file_data": "data:application/pdf;base64,aa"}}, "pdf"),
    ({"type": "file", "file": {"file_id": "f-1"}}, "pdf"),
    ({"type": "input_file", "file_id": "f-1"}, "pdf"),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}}, "pdf"),
    ({"type": "document", "source": {"type": "text", "data": "hello"}}, None),
    ({"type": "file", "mime_type": "text/csv", "base64": "aa"}, None),
    ({"type": "text", "text": "hello"}, None),
    ({"type": "text-plain", "text": "hello"}, None),
    ({"type": "reasoning", "reasoning": "hm"}, None),
    ({"type": "media"}, None),
    ({"type": ["odd"]}, None),
    ({"nothing": "known"}, None),
    ("hello", None),
]


@pytest.mark.parametrize(("block", "ability"), BLOCKS, ids=lambda x: str(x)[:60])
def test_a_block_takes_an_ability(block: Any, ability: str | None) -> None:
    assert abilities_for([HumanMessage([block])]) == ({ability} if ability else set())


def test_all_messages_are_looked_at_and_plain_text_takes_nothing() -> None:
    image, audio = {"type": "image", "url": "u"}, {"type": "audio", "url": "u"}
    messages: list[BaseMessage] = [
        SystemMessage("be kind"),
        HumanMessage([{"type": "text", "text": "look"}, image]),
        AIMessage([audio]),
        ToolMessage([image], tool_call_id="1"),
    ]
    assert abilities_for(messages) == {"vision", "audio"}
    assert abilities_for([SystemMessage("be kind"), HumanMessage("hello")]) == set()


def test_blocks_within_themselves_have_an_end() -> None:
    block: dict[str, Any] = {"type": "tool_result"}
    block["content"] = [block]
    message = HumanMessage("x")
    object.__setattr__(message, "content", [block])
    assert abilities_for([message]) == set()


def tokens(*messages: BaseMessage, **arguments: Any) -> int:
    return least_tokens(Question(list(messages), None, arguments))


def test_text_has_at_least_a_token_for_six_characters() -> None:
    assert tokens(SystemMessage("x" * 300), HumanMessage("x" * 300)) == 100
    assert tokens(HumanMessage([{"type": "text", "text": "x" * 300}, "x" * 300])) == 100
    assert tokens(HumanMessage("")) == 0


def test_an_image_counts_as_a_small_one_and_its_bytes_do_not() -> None:
    block = {"type": "image", "base64": "a" * 100_000, "mime_type": "image/png"}
    assert tokens(HumanMessage([block, block])) == 2 * IMAGE_TOKENS


def test_calls_of_tools_and_tools_count() -> None:
    call = {"name": "write", "args": {"text": "x" * 600}, "id": "1", "type": "tool_call"}
    assert 100 <= tokens(AIMessage("", tool_calls=[call])) < 105
    assert 100 <= tokens(HumanMessage(""), tools=[{"description": "x" * 600}]) < 105
    assert tokens(HumanMessage(""), tools=[object()]) == 0  # what it looks like when sent, nobody knows


@pytest.mark.parametrize(
    ("arguments", "reserve"),
    [
        ({}, 0),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 200, "max_tokens": 100}, 200),
        ({"max_output_tokens": 300}, 300),
        ({"max_tokens": None}, 0),
        ({"max_tokens": -1}, 0),
        ({"max_tokens": "many"}, 0),
    ],
)
def test_the_answer_is_promised_what_the_call_allows(arguments: dict[str, Any], reserve: int) -> None:
    assert reserve_of(arguments) == reserve
