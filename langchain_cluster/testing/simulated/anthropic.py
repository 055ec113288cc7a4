"""The messages format of Anthropic."""

from __future__ import annotations

from typing import Any, Literal

import orjson

from langchain_cluster.testing.simulated.dialect import Ask, Stream, Tool, Turn, Unreadable
from langchain_cluster.testing.simulated.openai import text_of
from langchain_cluster.testing.simulated.reply import words

__all__ = ["Anthropic"]

_PIECE = 8  # characters of a tool's input in one delta
_ERRORS: dict[int, tuple[str, str]] = {  # message, type
    400: ("Your request is not valid.", "invalid_request_error"),
    401: ("invalid x-api-key", "authentication_error"),
    403: ("Your API key does not have permission to use the specified resource.", "permission_error"),
    404: ("model: not found", "not_found_error"),
    408: ("Request timed out.", "timeout_error"),
    409: ("The resource was changed by another request.", "invalid_request_error"),
    413: ("Request exceeds the maximum size", "request_too_large"),
    422: ("The request could not be processed.", "invalid_request_error"),
    429: ("This request would exceed the rate limit for your organization.", "rate_limit_error"),
    500: ("Internal server error", "api_error"),
    502: ("Bad gateway", "api_error"),
    503: ("Service unavailable", "api_error"),
    529: ("Overloaded", "overloaded_error"),
}
_STOP = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class Anthropic:
    """POST /v1/messages."""

    name: Literal["anthropic"] = "anthropic"

    def read(self, endpoint: str, body: dict[str, Any]) -> Ask:
        messages = body.get("messages")
        for field in ("model", "messages", "max_tokens"):
            if not body.get(field):
                raise Unreadable(f"{field}: Field required")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise Unreadable("messages: Input should be a valid list")
        texts = [_text(message.get("content")) for message in messages]
        spoken = [at for at, message in enumerate(messages) if _spoken(message)]
        after = spoken[-1] + 1 if spoken else 0
        form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        return Ask(
            endpoint=endpoint,
            model=body["model"],
            text=text_of(messages[spoken[-1]]["content"]) if spoken else "",
            words=max(1, sum(len(words(text)) for text in (text_of(body.get("system")), *texts))),
            stream=bool(body.get("stream")),
            begun=texts[-1] if messages and messages[-1]["role"] == "assistant" else "",
            results=tuple(_text(block.get("content")) for block in _blocks(messages[-1], "tool_result")),
            called=tuple(
                block["name"] for message in messages[after:] for block in _blocks(message, "tool_use")
            ),
            tools=tuple(
                Tool(tool["name"], tool["input_schema"])
                for tool in body.get("tools") or ()
                if "input_schema" in tool
            ),
            choice=_choice(body.get("tool_choice") or {}),
            parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
            schema=form.get("schema"),
            json=form.get("type") == "json_schema",
            stop=tuple(body.get("stop_sequences") or ()),
            max_tokens=body["max_tokens"],
            include_usage=True,
        )

    def whole(self, ask: Ask, turn: Turn, number: int) -> bytes:
        content: list[dict[str, Any]] = [
            {"type": "tool_use", "id": f"toolu_{number}_{at}", "name": call.name, "input": call.arguments}
            for at, call in enumerate(turn.calls)
        ]
        return orjson.dumps(
            _message(ask, number)
            | {
                "content": content or [{"type": "text", "text": turn.text}],
                "stop_reason": _STOP[turn.finish],
                "stop_sequence": turn.stopped_by,
                "usage": {"input_tokens": ask.words, "output_tokens": turn.words},
            }
        )

    def stream(self, ask: Ask, turn: Turn, number: int) -> Stream:
        event = self.event
        lead = event("message_start", {"message": _message(ask, number)})
        tokens: list[bytes] = []
        if turn.calls:
            closing = b""
            for at, call in enumerate(turn.calls):
                block = {"type": "tool_use", "id": f"toolu_{number}_{at}", "name": call.name, "input": {}}
                opened = event("content_block_start", {"index": at, "content_block": block})
                tokens.append(closing + opened + _delta(at, "input_json_delta", "partial_json", ""))
                given = orjson.dumps(call.arguments).decode() if call.arguments else ""
                tokens.extend(
                    _delta(at, "input_json_delta", "partial_json", given[start : start + _PIECE])
                    for start in range(0, len(given), _PIECE)
                )
                closing = event("content_block_stop", {"index": at})
        else:
            block = {"type": "text", "text": ""}
            lead += event("content_block_start", {"index": 0, "content_block": block})
            tokens = [_delta(0, "text_delta", "text", token) for token in turn.tokens]
            closing = event("content_block_stop", {"index": 0})
        reason = {"stop_reason": _STOP[turn.finish], "stop_sequence": turn.stopped_by}
        usage = {"input_tokens": ask.words, "output_tokens": turn.words}
        tail = closing + event("message_delta", {"delta": reason, "usage": usage})
        return Stream(lead + event("ping", {}), tokens, tail, event("message_stop", {}))

    def error(self, status: int, message: str | None = None, **fields: Any) -> dict[str, Any]:
        known, kind = _ERRORS.get(status) or _ERRORS[500 if status >= 500 else 400]
        return {"type": "error", "error": {"type": kind, "message": message or known}}

    def nothing(self, ask: Ask, number: int) -> dict[str, Any]:
        if ask.stream:
            return {"message": None}
        return _message(ask, number) | {"content": None}

    def event(self, kind: str, data: dict[str, Any]) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data))

    def error_event(self) -> bytes:
        return self.event("error", self.error(529))

    def half_event(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "del\n\n'


def _choice(choice: dict[str, Any]) -> str:
    kind = choice.get("type", "auto")
    return f"tool:{choice.get('name')}" if kind == "tool" else str(kind)


def _message(ask: Ask, number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": ask.words, "output_tokens": 0},
    }


def _delta(index: int, kind: str, field: str, value: str) -> bytes:
    data = {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: value}}
    return b"event: content_block_delta\ndata: %b\n\n" % orjson.dumps(data)


def _blocks(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict) and block.get("type") == kind]


def _spoken(message: dict[str, Any]) -> bool:
    """Did the user say something, or are these only the results of tools?"""
    content = message.get("content")
    return message.get("role") == "user" and (isinstance(content, str) or bool(_blocks(message, "text")))


def _text(content: Any) -> str:
    """The text of a message with that of its tool results."""
    if isinstance(content, list):
        content = [
            {"text": _text(block.get("content"))} if block.get("type") == "tool_result" else block
            for block in content
            if isinstance(block, dict)
        ]
    return text_of(content)
