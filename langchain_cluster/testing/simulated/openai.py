"""The chat completions format of OpenAI, as vLLM and others serve it too."""

from __future__ import annotations

import time
from typing import Any, Literal

import orjson

from langchain_cluster.testing.simulated.dialect import Ask, Stream, Tool, Turn, Unreadable, as_list, sse
from langchain_cluster.testing.simulated.reply import words

__all__ = ["OpenAI", "text_of"]

_PIECE = 8  # characters of a tool's arguments in one delta
_ERRORS: dict[int, tuple[str, str, str | None]] = {  # message, type, code
    400: ("Your request is not valid.", "invalid_request_error", None),
    401: (
        "Incorrect API key provided: ***. You can find your API key at https://platform.openai.com.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    403: ("Your project does not have access to this model.", "invalid_request_error", "model_not_found"),
    404: ("The model does not exist or is not yours to use.", "invalid_request_error", "model_not_found"),
    408: ("The request timed out.", "timeout", None),
    409: ("The resource was changed by another request.", "invalid_request_error", "conflict"),
    413: ("The request is too large.", "invalid_request_error", "request_too_large"),
    422: ("The request could not be processed.", "invalid_request_error", None),
    429: ("Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request. Sorry about that!", "server_error", None),
    502: ("Bad gateway.", "server_error", None),
    503: ("The engine is currently overloaded, please try again later.", "server_error", None),
    529: ("The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
}


class OpenAI:
    """POST /v1/chat/completions."""

    name: Literal["openai"] = "openai"

    def read(self, endpoint: str, body: dict[str, Any]) -> Ask:
        messages = body.get("messages")
        if not isinstance(body.get("model"), str):
            raise Unreadable("you must provide a model parameter")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise Unreadable("Invalid 'messages': expected a non-empty array of objects.")
        texts = [text_of(message.get("content")) for message in messages]
        roles = [message.get("role") for message in messages]
        users = [at for at, role in enumerate(roles) if role == "user"]
        after = users[-1] + 1 if users else 0
        results = 0
        while results < len(roles) and roles[-1 - results] == "tool":
            results += 1
        form = body.get("response_format") or {}
        return Ask(
            endpoint=endpoint,
            model=body["model"],
            text=texts[users[-1]] if users else "",
            words=max(1, sum(len(words(text)) for text in texts)),
            stream=bool(body.get("stream")),
            begun=texts[-1] if roles and roles[-1] == "assistant" else "",
            results=tuple(texts[len(texts) - results :]),
            called=tuple(
                call["function"]["name"]
                for message in messages[after:]
                for call in message.get("tool_calls") or ()
                if "function" in call
            ),
            tools=tuple(
                Tool(tool["function"]["name"], tool["function"].get("parameters") or {"type": "object"})
                for tool in body.get("tools") or ()
                if "function" in tool
            ),
            choice=_choice(body.get("tool_choice")),
            parallel=body.get("parallel_tool_calls") is not False,
            schema=(form.get("json_schema") or {}).get("schema"),
            json=form.get("type") in ("json_schema", "json_object"),
            stop=tuple(as_list(body.get("stop"))),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            n=body.get("n") or 1,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    def whole(self, ask: Ask, turn: Turn, number: int) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": None if turn.calls else turn.text}
        message["refusal"] = None
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{number}_{at}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
                }
                for at, call in enumerate(turn.calls)
            ]
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(turn)}
            for index in range(ask.n)
        ]
        return orjson.dumps(
            _frame(ask, number, "chat.completion") | {"choices": choices, "usage": _usage(ask, turn)}
        )

    def stream(self, ask: Ask, turn: Turn, number: int) -> Stream:
        frame = _frame(ask, number, "chat.completion.chunk")
        if ask.include_usage:
            frame["usage"] = None

        def part(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return b"".join(sse(frame | {"choices": [choice | {"index": at}]}) for at in range(ask.n))

        tokens = [part({"content": token}) for token in turn.tokens]
        for at, call in enumerate(turn.calls):
            opened = {"name": call.name, "arguments": ""}
            first = {"index": at, "id": f"call_{number}_{at}", "type": "function", "function": opened}
            tokens.append(part({"tool_calls": [first]}))
            arguments = orjson.dumps(call.arguments).decode()
            for start in range(0, len(arguments), _PIECE):
                piece = {"index": at, "function": {"arguments": arguments[start : start + _PIECE]}}
                tokens.append(part({"tool_calls": [piece]}))
        tail = part({}, _finish(turn))
        if ask.include_usage:
            tail += sse(frame | {"choices": [], "usage": _usage(ask, turn)})
        lead = part({"role": "assistant", "content": None if turn.calls else "", "refusal": None})
        return Stream(lead, tokens, tail, b"data: [DONE]\n\n")

    def error(self, status: int, message: str | None = None, **fields: Any) -> dict[str, Any]:
        known, kind, code = _ERRORS.get(status) or _ERRORS[500 if status >= 500 else 400]
        inner = {"message": message or known, "type": kind, "param": None, "code": code}
        return {"error": inner | fields}

    def nothing(self, ask: Ask, number: int) -> dict[str, Any]:
        kind = "chat.completion.chunk" if ask.stream else "chat.completion"
        return _frame(ask, number, kind) | {"choices": None}

    def event(self, kind: str, data: dict[str, Any]) -> bytes:
        return sse(data)

    def error_event(self) -> bytes:
        return sse(self.error(500))

    def half_event(self) -> bytes:
        return b'data: {"id": "chatcmpl-0", "object": "chat.completion.chunk", "choices": [{"ind\n\n'


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    parts = [block if isinstance(block, str) else block.get("text") for block in content or ()]
    return " ".join(part for part in parts if isinstance(part, str))


def _choice(choice: Any) -> str:
    if isinstance(choice, dict):
        return f"tool:{(choice.get('function') or {}).get('name')}"
    return "any" if choice in ("any", "required") else str(choice or "auto")


def _finish(turn: Turn) -> str:
    return "stop" if turn.finish == "stop_sequence" else turn.finish


def _frame(ask: Ask, number: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": int(time.time()),
        "model": ask.model,
        "system_fingerprint": f"fp_{ask.endpoint}",
    }


def _usage(ask: Ask, turn: Turn) -> dict[str, int]:
    answered = turn.words * ask.n
    return {
        "prompt_tokens": ask.words,
        "completion_tokens": answered,
        "total_tokens": ask.words + answered,
    }
