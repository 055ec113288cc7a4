"""What was asked and said, for spans: only when the standard switch asks for it, cut short, and redacted.

The switch is the OpenTelemetry conventions' own, `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from langchain_cluster.errors import ConfigError
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.describe import answered

SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON = frozenset({"true", "1", "yes", "span_only", "span_and_event"})
LONGEST = 4096  # characters of one message
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


class Content:
    """Messages as the conventions write them.

    Args:
        max_chars: of one message, >= 1; the rest is cut, and said to be.
        redact: given each text before it is cut, answers what may be shown. When it raises nothing is.

    Raises:
        ConfigError: `max_chars` is out of range.
    """

    def __init__(self, max_chars: int = LONGEST, redact: Callable[[str], str] | None = None) -> None:
        if max_chars < 1:
            raise ConfigError(f"max_chars {max_chars} is less than 1", key="content.max_chars")
        self.max_chars, self.redact = max_chars, redact

    @classmethod
    def from_environment(cls) -> Content | None:
        """As the standard switch says; None for nothing, which is the default."""
        return cls() if os.environ.get(SWITCH, "").strip().lower() in _ON else None

    def asked(self, payload: Any) -> str | None:
        """The messages of a request; None when it has none."""
        return self.wrote(getattr(payload, "messages", None) or ())

    def said(self, value: Any) -> str | None:
        """The messages of an answer; None when it has none."""
        generations = getattr(value, "generations", None) or ([value] if hasattr(value, "message") else [])
        reasons = answered(value).get(names.FINISH_REASONS)
        messages = [one.message for one in generations if hasattr(one, "message")]
        return self.wrote(messages, reasons[0] if reasons else None)

    def wrote(self, messages: Sequence[Any], reason: str | None = None) -> str | None:
        """Messages as JSON, with the reason for which an answer ended; None when there are none."""
        told = [self._message(message, reason) for message in messages if message is not None]
        return orjson.dumps(told, default=str).decode() if told else None

    def _message(self, message: Any, reason: str | None) -> dict[str, Any]:
        kind = str(getattr(message, "type", ""))
        text = self._shown(text_of(message))
        if kind == "tool":
            told = {"type": "tool_call_response", "id": message.tool_call_id, "response": text}
            return {"role": "tool", "parts": [told]}
        parts = [
            {
                "type": "tool_call",
                "id": call.get("id"),
                "name": call.get("name"),
                "arguments": self._arguments(call.get("args")),
            }
            for call in getattr(message, "tool_calls", None) or ()
        ]
        if text or not parts:
            parts.insert(0, {"type": "text", "content": text})
        shape: dict[str, Any] = {"role": _ROLES.get(kind, kind), "parts": parts}
        if reason:
            shape["finish_reason"] = reason
        return shape

    def _arguments(self, given: Any) -> Any:
        """As what they are, unless the hook or the limit has made something else of them."""
        shown = self._shown(orjson.dumps(given, default=str).decode())
        try:
            return orjson.loads(shown)
        except ValueError:
            return shown

    def _shown(self, text: str) -> str:
        if self.redact is not None:
            try:
                text = str(self.redact(text))
            except Exception:
                return "[not shown: the hook that redacts failed]"
        if len(text) <= self.max_chars:
            return text
        return f"{text[: self.max_chars]}… [{len(text) - self.max_chars} characters more]"


def text_of(message: Any) -> str:
    """What a message says; parts that are no text are not shown, be they pictures or files."""
    content = getattr(message, "content", "")
    if isinstance(content, str):
        return content
    texts = (part if isinstance(part, str) else part.get("text") for part in content)
    return "".join(text for text in texts if isinstance(text, str))
