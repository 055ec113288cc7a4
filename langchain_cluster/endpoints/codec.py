"""Answers as bytes and back. JSON under a byte of version, compressed if long: nothing is ever unpickled."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import orjson
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel

from langchain_cluster.endpoints.copied import copied
from langchain_cluster.model.label import unlabelled

T = TypeVar("T", bound=BaseModel)
_PLAIN, _PACKED = b"\x01", b"\x02"
_LONG = 8_192  # bytes of JSON from which on it is compressed
_MOST = 64 * 1024 * 1024  # bytes it may become again: whoever writes to the store must not fill the memory
_FIELDS = (
    "content", "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls", "usage_metadata",
    "name",
)  # fmt: skip
_REMEMBERED = 1024  # decoded answers kept beside their bytes
_SHORT = 16_384  # bytes of one that is: what a store has let go must not fill the memory here


class AnswerCodec:
    """Encodes a `ChatResult` or a merged stream; decodes to a `ChatResult` of the reader's own.

    Bytes may have a label (`model/label.py`). The last answers decoded are remembered by them, so that a
    hot one costs a copy, not a parse.
    """

    def __init__(self) -> None:
        self._decoded: dict[bytes, ChatResult] = {}

    def encode(self, value: ChatResult | ChatGenerationChunk) -> bytes:
        """Bytes of an answer. Raises TypeError for what is no JSON."""
        if isinstance(value, ChatResult):
            generation: ChatGeneration = value.generations[0]
            llm_output = value.llm_output or {}
        else:
            generation, llm_output = value, {}
        message: BaseMessage = generation.message
        fields = {name: getattr(message, name, None) for name in _FIELDS}
        # `parsed` is the OpenAI SDK's view of the text: an object, and made anew by whoever wants it.
        fields["additional_kwargs"] = {k: v for k, v in message.additional_kwargs.items() if k != "parsed"}
        info = {**llm_output, **(generation.generation_info or {})}
        told = orjson.dumps([fields, info])
        if len(told) >= _LONG:
            packed = zlib.compress(told, 1)
            if len(packed) < len(told):
                return _PACKED + packed
        return _PLAIN + told

    def decode(self, raw: bytes) -> ChatResult:
        """A fresh answer. Raises ValueError for bytes that were not written by `encode`."""
        known = self._decoded.get(raw)
        if known is None:
            known = _parse(raw)
            if len(raw) > _SHORT:
                return known
            if len(self._decoded) >= _REMEMBERED:
                self._decoded.clear()
            self._decoded[raw] = known
        return _own(known)


def _parse(raw: bytes) -> ChatResult:
    raw = unlabelled(raw)
    version, told = raw[:1], memoryview(raw)[1:]
    if version == _PACKED:
        told = memoryview(_unpacked(told))
    elif version != _PLAIN:
        raise ValueError("not an answer, or one of another version")
    read = orjson.loads(told)
    if not isinstance(read, list) or len(read) != 2 or not all(isinstance(part, dict) for part in read):
        raise ValueError("not an answer")
    fields, info = read
    if set(fields) - set(_FIELDS):
        raise ValueError("not an answer")
    try:
        if fields.get("usage_metadata") is not None:
            # As LangChain's own cache does: the tokens are told, and that they cost nothing this time.
            fields["usage_metadata"]["total_cost"] = 0
        message = AIMessage(**{name: value for name, value in fields.items() if value is not None})
    except (TypeError, AttributeError) as error:  # pydantic's own refusal is a ValueError already
        raise ValueError("not an answer") from error
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=info or None)])


def _unpacked(packed: memoryview) -> bytes:
    """What was compressed. Raises ValueError for what was not, or is too much."""
    unpacking = zlib.decompressobj()
    try:
        told = unpacking.decompress(packed, _MOST)
    except zlib.error as error:
        raise ValueError("not an answer") from error
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("half an answer, or too much of one")
    return told


def _own(known: ChatResult) -> ChatResult:
    """A copy that shares nothing that can be changed.

    Written into `__dict__`: pydantic would check again, for longer than the rest of a hit takes, what
    was checked when it was parsed.
    """
    result = copied(known)
    generation = copied(known.generations[0])
    message = copied(generation.message)
    for owner, names in ((message.__dict__, _FIELDS), (generation.__dict__, ("generation_info",))):
        for name in names:
            if owner[name].__class__ in (dict, list):
                owner[name] = _fresh(owner[name])
    generation.__dict__["message"] = message
    result.__dict__["generations"] = [generation]
    return result


def _fresh(value: Any) -> Any:
    """A copy of what JSON can hold."""
    if value.__class__ is dict:
        return {key: _fresh(inner) for key, inner in value.items()}
    if value.__class__ is list:
        return [_fresh(inner) for inner in value]
    return value
