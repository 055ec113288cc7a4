"""What was asked and said, for spans: only when the standard switch asks for it, cut short, and redacted.

The switch is the OpenTelemetry conventions' own, `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import orjson

SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_ON = frozenset({"true", "1", "yes", "span_only", "span_and_event"})
LONGEST = 4096  # characters of one message
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


class Content:
    """Messages as the conventions write them.

    Args:
        max_chars: of one message, >= 1; the rest is cut, and said to be.
        redact: given each text before it is cut, answers what may be shown. When it raises nothing is.
    """

    def __init__(self, max_chars: int = LONGEST, redact: Callable[[str], str] | None = None) -> None:
        self.max_chars, self.redact = max_chars, redact

    @classmethod
    def from_environment(cls) -> Content | None:
        """As the standard switch says; None for nothing, which is the default."""
        return cls() if os.environ.get(SWITCH, "").strip().lower() in _ON else None

    def asked(self, payload: Any) -> str | None:
        """The messages of a request; None when it has none."""
        messages = getattr(payload, "messages", None)
        return self._written(messages) if messages else None

    def said(self, value: Any) -> str | None:
        """The messages of an answer; None when it was not kept, as of a stream that no cache wants."""
        generations = getattr(value, "generations", None) or ([value] if hasattr(value, "message") else [])
        messages = [one.message for one in generations if hasattr(one, "message")]
        return self._written(messages) if messages else None

    def _written(self, messages: list[Any]) -> str:
        told = []
        for message in messages:
            kind = str(getattr(message, "type", ""))
            parts: list[dict[str, Any]] = [{"type": "text", "content": self._shown(text_of(message))}]
            for call in getattr(message, "tool_calls", None) or ():
                arguments = self._shown(orjson.dumps(call.get("args"), default=str).decode())
                parts.append({"type": "tool_call", "name": call.get("name"), "arguments": arguments})
            told.append({"role": _ROLES.get(kind, kind), "parts": parts})
        return orjson.dumps(told).decode()

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
