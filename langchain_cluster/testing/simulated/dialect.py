"""What the wire formats have in common: what was asked, what is answered, and how it is framed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

__all__ = ["Ask", "Dialect", "Finish", "Stream", "Tool", "ToolCall", "Turn", "Unreadable", "as_list", "sse"]

Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "content_filter"]


class Unreadable(Exception):
    """The request is well-formed JSON and still makes no sense: answered with 400."""


@dataclass(frozen=True, slots=True)
class Tool:
    """schema: JSON schema of the arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat request, whichever format it came in. This is what a `reply` callable is given.

    endpoint: as named in the path. text: of the last user message. words: in the whole prompt.
    results: texts of the tool results that end the conversation, if it ends with any. called: names
    of the tools called since the last user message. choice: "auto", "none", "any", or a tool's name
    after "tool:". begun: the answer's beginning, where the conversation ends with the assistant's own words
    (prefill). schema: what a JSON answer must fit; json: whether it must be JSON at all.
    """

    endpoint: str
    model: str
    text: str
    words: int
    stream: bool
    results: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    json: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    n: int = 1
    include_usage: bool = False
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model says. tokens: joined they are the text. stopped_by: the stop sequence met."""

    tokens: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: Finish
    stopped_by: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def words(self) -> int:
        """Output tokens, as usage reports them."""
        return len(self.tokens) + sum(1 + len(call.arguments) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer as server-sent events.

    lead: before the first token. tokens: one item per token. tail: what closes the answer (finish
    reason, usage). end: the mark that the stream is over.
    """

    lead: bytes
    tokens: list[bytes]
    tail: bytes
    end: bytes


class Dialect(Protocol):
    """One wire format."""

    @property
    def name(self) -> Literal["openai", "anthropic"]: ...

    def read(self, endpoint: str, body: dict[str, Any]) -> Ask:
        """Raises: Unreadable."""

    def whole(self, ask: Ask, turn: Turn, number: int) -> bytes: ...

    def stream(self, ask: Ask, turn: Turn, number: int) -> Stream: ...

    def error(self, status: int, message: str | None = None, **fields: Any) -> dict[str, Any]:
        """The provider's body for a status. fields: replace those of the inner object."""

    def nothing(self, ask: Ask, number: int) -> dict[str, Any]:
        """An answer whose content is null."""

    def event(self, kind: str, data: dict[str, Any]) -> bytes:
        """One server-sent event."""

    def error_event(self) -> bytes: ...

    def half_event(self) -> bytes:
        """An event whose JSON is cut off in the middle."""


def sse(data: dict[str, Any]) -> bytes:
    """One server-sent event without a name."""
    return b"data: %b\n\n" % orjson.dumps(data)


def as_list(value: Any) -> list[Any]:
    """None, one or many to a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
