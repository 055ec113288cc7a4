"""Answers as bytes and back. JSON under a version byte: nothing is ever unpickled."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

_VERSION = b"\x01"
_FIELDS = (
    "content", "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls", "usage_metadata",
    "name",
)  # fmt: skip
_REMEMBERED = 1024  # decoded answers kept beside their bytes


class AnswerCodec:
    """Encodes a `ChatResult` or a merged stream; decodes to a `ChatResult` of the reader's own.

    The last answers decoded are remembered by their bytes, so that a hot one costs a copy, not a parse.
    """

    def __init__(self) -> None:
        self._decoded: dict[bytes, tuple[dict[str, Any], dict[str, Any]]] = {}

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
        return _VERSION + orjson.dumps([fields, info])

    def decode(self, raw: bytes) -> ChatResult:
        """A fresh answer. Raises ValueError for bytes that were not written by `encode`."""
        known = self._decoded.get(raw)
        if known is None:
            if raw[:1] != _VERSION:
                raise ValueError("not an answer, or one of another version")
            fields, info = orjson.loads(memoryview(raw)[1:])
            if not isinstance(fields, dict) or not isinstance(info, dict) or set(fields) - set(_FIELDS):
                raise ValueError("not an answer")
            AIMessage(**fields)  # checked once; copies of it are built without
            known = (fields, info)
            if len(self._decoded) >= _REMEMBERED:
                self._decoded.clear()
            self._decoded[raw] = known
        return _copy(*known)


def _copy(fields: dict[str, Any], info: dict[str, Any]) -> ChatResult:
    content = fields["content"]
    usage: Any = fields["usage_metadata"]
    if usage is not None:  # as LangChain's own cache does: the tokens are told, and that they cost nothing
        usage = {**usage, "total_cost": 0}
    extra, metadata = fields["additional_kwargs"], fields["response_metadata"]
    calls, invalid = fields["tool_calls"], fields["invalid_tool_calls"]
    message = AIMessage.model_construct(
        content=content if isinstance(content, str) else deepcopy(content),
        additional_kwargs=deepcopy(extra) if extra else {},
        response_metadata=deepcopy(metadata) if metadata else {},
        tool_calls=deepcopy(calls) if calls else [],
        invalid_tool_calls=deepcopy(invalid) if invalid else [],
        usage_metadata=usage,
        name=fields["name"],
        id=None,
        type="ai",
    )
    generation = ChatGeneration.model_construct(
        message=message,
        text=content if isinstance(content, str) else message.text,
        generation_info=deepcopy(info) if info else None,
        type="ChatGeneration",
    )
    return ChatResult.model_construct(generations=[generation], llm_output=None, type="ChatResult")
