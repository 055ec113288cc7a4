"""What can go wrong with an endpoint: values, which `server.fail` switches on and `server.heal` off.

Every fault has a meaning for a streamed and for a whole answer. "After n tokens" counts what the
client has received when it happens; of a whole answer, half the body stands for it:

| fault            | streamed                                   | whole                                   |
|------------------|--------------------------------------------|-----------------------------------------|
| SlowFirstToken   | headers at once, then a wait               | a wait, then everything                 |
| ResetAfter       | n tokens, then RST                         | half the promised length, then RST      |
| CutAfter         | close-delimited: n tokens, then a clean end| close-delimited: half the body          |
| ChunkedCutAfter  | n tokens, closed without the last chunk    | half the body, likewise                 |
| StallAfter       | n tokens, then silence                     | half the promised length, then silence  |
| MalformedChunk   | n tokens, then half a JSON object          | as HalfJson                             |
| NoDone           | all but the closing mark                   | nothing: the answer is whole            |
| ErrorEvent       | n tokens, then an error object             | as ErrorBody                            |
| HalfJson         | one event with half a JSON object          | half the body, framed as if it were all |
| NullChoices      | one event without choices                  | a body without choices                  |

Status, RateLimited, InsufficientQuota, ContextOverflow, ContentFilter, Html, EmptyBody and
ErrorBody answer before any token, so they are the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_cluster.testing.simulated.latency import Fixed, LogNormal, Uniform

__all__ = [
    "ChunkedCutAfter",
    "ContentFilter",
    "ContextOverflow",
    "CutAfter",
    "EmptyBody",
    "ErrorBody",
    "ErrorEvent",
    "Fault",
    "Fixed",
    "HalfJson",
    "Hang",
    "Html",
    "Instead",
    "InsufficientQuota",
    "LogNormal",
    "MalformedChunk",
    "NoDone",
    "NullChoices",
    "RateLimited",
    "Refuse",
    "ResetAfter",
    "SlowFirstToken",
    "StallAfter",
    "Status",
    "Uniform",
    "Within",
]


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error. body: None for the provider's own text, else bytes, text or JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateLimited:
    """429. retry_after: seconds, or an HTTP date; retry_after_ms: milliseconds, its own header."""

    retry_after: float | str | None = None
    retry_after_ms: float | None = None


@dataclass(frozen=True, slots=True)
class InsufficientQuota:
    """No money left: 429 with `insufficient_quota` at OpenAI, 400 at Anthropic."""


@dataclass(frozen=True, slots=True)
class ContextOverflow:
    """The prompt is too long. style: whose words; None for those of the format asked in."""

    style: Literal["openai", "vllm", "anthropic"] | None = None


@dataclass(frozen=True, slots=True)
class ContentFilter:
    """Refused for its content: 400, or with `finish` a 200 that ends as filtered."""

    finish: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is read and never answered."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """RST before any header. (For a port that refuses to connect, stop the server.)"""


@dataclass(frozen=True, slots=True)
class SlowFirstToken:
    """seconds: on top of what the endpoint takes anyway."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ResetAfter:
    """RST in the middle of the answer."""

    tokens: int


@dataclass(frozen=True, slots=True)
class CutAfter:
    """No framing: the end of the connection is the end of the answer, so HTTP sees no error."""

    tokens: int


@dataclass(frozen=True, slots=True)
class ChunkedCutAfter:
    """The connection ends, the chunked body does not: HTTP sees an error."""

    tokens: int


@dataclass(frozen=True, slots=True)
class StallAfter:
    """The connection stays open and nothing more comes."""

    tokens: int


@dataclass(frozen=True, slots=True)
class MalformedChunk:
    """An event that is not JSON, and then the end."""

    after: int = 1


@dataclass(frozen=True, slots=True)
class NoDone:
    """Everything but `data: [DONE]` (Anthropic: `message_stop`).

    close: False ends the chunked body properly; True closes the connection after the last event.
    """

    close: bool = False


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error object among the events, and then the end."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Html:
    """200 with a page, as a proxy in between answers."""


@dataclass(frozen=True, slots=True)
class NullChoices:
    """200 whose `choices` (Anthropic: `content`; embeddings: `data`) is null."""


@dataclass(frozen=True, slots=True)
class EmptyBody:
    """200 with no byte after the headers."""


@dataclass(frozen=True, slots=True)
class HalfJson:
    """200 with half a JSON object, in correct framing."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """200 with an error object as its body."""


Instead = (
    Status
    | RateLimited
    | InsufficientQuota
    | ContextOverflow
    | ContentFilter
    | Hang
    | Refuse
    | Html
    | EmptyBody
    | ErrorBody
)
"""In place of the model's answer."""

Within = (
    SlowFirstToken
    | ResetAfter
    | CutAfter
    | ChunkedCutAfter
    | StallAfter
    | MalformedChunk
    | NoDone
    | ErrorEvent
    | NullChoices
    | HalfJson
)
"""Somewhere in the model's answer."""

Fault = Instead | Within
