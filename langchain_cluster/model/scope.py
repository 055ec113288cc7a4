"""What is asked of limits that processes share, and what the answer may be. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Something with limits per minute.

    Args:
        kind: "endpoint" or "group" (of endpoints with one quota).
        name: its id, or the group's name.
        rpm, tpm: calls and tokens in any 60 seconds, >= 0; None without a limit.
    """

    kind: str
    name: str
    rpm: float | None = None
    tpm: float | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """There was room, and it is taken.

    Args:
        scopes: where; tokens: how many in each.
        grain: the quarter of a second it was taken in, of the store's time.
        parts: among how many processes the limits are to be divided, beside what the store counts; 1: not.
    """

    scopes: tuple[Scope, ...]
    tokens: int
    grain: int
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no room for this in `scope`, for so many `seconds`; infinity when there never will be.

    `window` is "rpm" or "tpm".
    """

    scope: Scope
    window: str
    seconds: float
    parts: int = 1


@dataclass(frozen=True, slots=True)
class Away:
    """The store cannot be asked, and why; `parts` processes have shared it lately."""

    error: str
    parts: int = 1
