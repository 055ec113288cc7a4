"""What of a message's content determines an answer, block by block; some blocks cannot be told faithfully.

By allow-list: what providers and caches note beside a block (ids, places, cache marks) does not count. What
is only pointed at, by an address or the id of a file, may change, so a question that shows it is not cached.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

_MEDIA = frozenset({"image", "audio", "file", "video", "input_audio", "image_url", "text-plain"})
_NAMED = ("mime_type", "filename", "title", "context")
# What a model thought: sent back as it was, signatures included.
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking"})
_THOUGHT = ("reasoning", "thinking", "text", "summary", "signature", "data", "encrypted_content", "extras")
_Block = Mapping[str, Any]


class Uncacheable(Exception):
    """This question has no faithful key."""


def content_parts(content: Any) -> Any:
    """What a message says; a list of one text is that text. Raises Uncacheable."""
    if content.__class__ is str:
        return content
    parts = [block_parts(block) for block in content]
    if len(parts) == 1 and parts[0].__class__ is list and parts[0][0] == "text":
        return parts[0][1]
    return parts


def block_parts(block: Any) -> Any:
    """What one block says. Raises Uncacheable."""
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        raise Uncacheable
    kind = block.get("type")
    if kind == "text":
        return ["text", block.get("text")]
    if kind in ("tool_use", "tool_call"):
        return ["call", block.get("name"), block.get("input", block.get("args")), block.get("id")]
    if kind in _THOUGHTS:
        return [kind, *map(block.get, _THOUGHT)]
    if kind in _MEDIA:
        return [kind, *_media(block)]
    raise Uncacheable


def _media(block: _Block) -> list[Any]:
    """What is shown, by its bytes or its text, and how the endpoint is told to look at it."""
    source = block.get("image_url", block.get("source", block.get("input_audio", block)))
    told: _Block = source if isinstance(source, Mapping) else {}
    address = told.get("url") if told else source
    data = told.get("base64") or told.get("data")
    kind = told.get("media_type") or told.get("format")
    if data is None and isinstance(address, str) and address.startswith("data:"):
        head, _, data = address.partition(",")
        kind = kind or head
    if data is None and block.get("type") == "text-plain" and isinstance(block.get("text"), str):
        shown = block["text"]
    else:
        shown = _digest(data)
    extras = block.get("extras")
    further = extras and {name: value for name, value in extras.items() if name != "cache_control"}
    return [shown, told.get("detail") or block.get("detail"), kind, *map(block.get, _NAMED), further or None]


def _digest(data: Any) -> str:
    if not isinstance(data, str):
        raise Uncacheable
    try:
        return sha256(base64.b64decode(data, validate=True)).hexdigest()
    except (binascii.Error, ValueError):
        raise Uncacheable from None
