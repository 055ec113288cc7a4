"""What a step answered, as bytes and back: JSON, messages and documents. Nothing is ever unpickled.

What is no JSON by itself is a list behind a mark that no text of a user's begins a list with: a list that
does cannot be kept. The classes that can come back are listed here; bytes cannot name another.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from math import isfinite
from typing import Any

import orjson
from langchain_core import messages
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables.utils import AddableDict

_VERSION = b"S\x01"
_MARK = "\x00lc"
_MESSAGES: dict[str, type[BaseMessage]] = {
    kind.__name__: kind
    for kind in (
        messages.AIMessage, messages.ChatMessage, messages.FunctionMessage, messages.HumanMessage,
        messages.RemoveMessage, messages.SystemMessage, messages.ToolMessage,
    )
}  # fmt: skip
_DERIVED = frozenset({"type"})  # the class says it


class ValueCodec:
    """Encodes JSON-able values, tuples, bytes, messages and documents; decodes to the reader's own."""

    def encode(self, value: Any) -> bytes:
        """Bytes of a value. Raises TypeError for what would not come back as it was.

        Of the chunks of a stream that were added up, the message comes back.
        """
        if isinstance(value, messages.ToolMessage) and value.status == "error":
            raise TypeError("it tells of an error")
        try:
            return _VERSION + orjson.dumps(_packed(value))
        except RecursionError:
            raise TypeError("it is nested too deep") from None

    def decode(self, raw: bytes) -> Any:
        """A fresh value. Raises ValueError for bytes that were not written by `encode`."""
        if raw[:2] != _VERSION:
            raise ValueError("not a value, or one of another version")
        try:
            return _unpacked(orjson.loads(memoryview(raw)[2:]))
        except (TypeError, AttributeError, KeyError, RecursionError) as error:
            raise ValueError("not a value") from error


def _packed(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (str, int, bool):
        return value
    if kind is float:
        if not isfinite(value):
            raise TypeError(f"a number that is {value}")
        return value
    if kind is list:
        if value and value[0] == _MARK:
            raise TypeError("a list that begins with the mark of this encoding")
        return [_packed(inner) for inner in value]
    if kind in (dict, AddableDict):
        return _packed_dict(value)
    if kind is tuple:
        return [_MARK, "tuple", [_packed(inner) for inner in value]]
    if kind is bytes:
        return [_MARK, "bytes", b64encode(value).decode()]
    if kind is Document:
        return [_MARK, "document", [value.page_content, _packed_dict(value.metadata), value.id]]
    if isinstance(value, BaseMessageChunk):
        return _packed(message_chunk_to_message(value))
    if _MESSAGES.get(kind.__name__) is kind:
        fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        told = {name: inner for name, inner in fields.items() if name not in _DERIVED and inner is not None}
        return [_MARK, kind.__name__, _packed_dict(told)]
    raise TypeError(f"a {kind.__name__} is neither JSON nor a message or document")


def _packed_dict(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if type(key) is not str:
            raise TypeError(f"a dict with a key that is a {type(key).__name__}")
    return {key: _packed(inner) for key, inner in value.items()}


def _unpacked(read: Any) -> Any:
    kind = type(read)
    if kind is dict:
        return {key: _unpacked(inner) for key, inner in read.items()}
    if kind is not list:
        return read
    if not read or read[0] != _MARK:
        return [_unpacked(inner) for inner in read]
    _, what, held = read
    if what == "tuple":
        return tuple([_unpacked(inner) for inner in held])
    if what == "bytes":
        return b64decode(held, validate=True)
    if what == "document":
        text, metadata, id = held
        return Document(page_content=text, metadata=_unpacked(metadata), id=id)
    return _MESSAGES[what](**_unpacked(held))
