"""What the messages of a call demand of an endpoint: abilities for what they hold, and room for them.

The number of tokens is estimated from below: an endpoint is passed over for its window only when the
prompt surely does not fit. Too low a guess costs one refused attempt, which goes on where the window is
larger; too high a one would keep calls from endpoints that can answer them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from langchain_core.messages import BaseMessage

from langchain_cluster.endpoints.caller import Question

# English prose has 4 to 5 characters a token, code 3 to 4, Chinese and Japanese 1 to 2; hardly any text 6.
CHARACTERS_PER_TOKEN = 6
IMAGE_TOKENS = 85  # the least OpenAI charges; most images cost several times that
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_ABILITIES = {
    "image": "vision",  # LangChain's own, and Anthropic's
    "image_url": "vision",  # OpenAI's
    "input_image": "vision",  # OpenAI's Responses API
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "document": "pdf",  # Anthropic's
    "file": "pdf",
    "input_file": "pdf",
    "media": "",  # Google's: its MIME type says what it is
}
_MIME_TYPES = {"image": "vision", "audio": "audio", "video": "video", "text": ""}
_INSIDE = ("source", "file")  # where providers put the MIME type
_DEPTH = 4  # blocks in blocks: a tool's result within a message, and hardly more
_NOTHING: frozenset[str] = frozenset()


def abilities_for(messages: Sequence[BaseMessage]) -> frozenset[str]:
    """The abilities that reading `messages` takes: of "vision", "audio", "video" and "pdf"."""
    needs = _NOTHING
    for message in messages:
        if type(message.content) is not str:
            needs = needs.union(_ability(block) for block in _blocks(message.content))
    return needs - {""} if needs else needs


def reserve_of(arguments: Mapping[str, Any]) -> int:
    """Tokens the call lets its answer have, 0 if it sets no limit."""
    for name in _LIMITS:
        limit = arguments.get(name)
        if type(limit) is int and limit > 0:
            return limit
    return 0


def least_tokens(question: Question) -> int:
    """The fewest tokens the prompt can have: messages, what tools were called with, and tools."""
    characters = images = 0
    for message in question.messages:
        content = message.content
        if type(content) is str:
            characters += len(content)
        else:
            for block in _blocks(content):
                if isinstance(block, str):
                    characters += len(block)
                elif isinstance(text := block.get("text"), str):
                    characters += len(text)
                elif _ability(block) == "vision":
                    images += 1
        for call in getattr(message, "tool_calls", ()):
            characters += _length(call.get("args"))
    tools = question.arguments.get("tools")
    if tools:
        characters += _length(tools)
    return characters // CHARACTERS_PER_TOKEN + images * IMAGE_TOKENS


def _blocks(content: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """The texts and mappings of a message's content, and of those within them."""
    if not isinstance(content, list | tuple):
        return
    for block in content:
        if isinstance(block, str):
            yield block
        elif isinstance(block, Mapping):
            yield block
            if depth and isinstance(within := block.get("content"), list):  # the result of a tool
                yield from _blocks(within, depth - 1)
            if depth and isinstance(value := block.get("value"), Mapping):  # a provider's own block
                yield from _blocks([value], depth - 1)


def _ability(block: Any) -> str:
    """The ability that reading one block takes, "" if it takes none."""
    if isinstance(block, str):
        return ""
    kind = block.get("type")
    if kind is None:
        kind = next((name for name in ("image", "document", "video") if name in block), "")  # Bedrock's
    ability = _ABILITIES.get(kind) if isinstance(kind, str) else None
    if ability is None or (ability != "pdf" and kind != "media"):
        return ability or ""
    mime = _mime_type(block)
    return _MIME_TYPES.get(mime.partition("/")[0], ability or "pdf") if mime else ability


def _mime_type(block: Mapping[str, Any]) -> str:
    for part in (block, *(block.get(name) for name in _INSIDE)):
        if not isinstance(part, Mapping):
            continue
        if part.get("type") == "text":
            return "text/plain"  # a document that Anthropic is given as its text
        for name in ("mime_type", "media_type"):
            if isinstance(mime := part.get(name), str):
                return mime
        if isinstance(data := part.get("file_data"), str) and data.startswith("data:"):
            return data[5:64].partition(";")[0]
    return ""


def _length(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:  # not to be sent as it is, so nobody knows how long it will be
        return 0
