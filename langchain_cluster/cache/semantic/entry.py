"""What is kept of one question, and what is found for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

UNREAD: Any = object()
"""What guards go by, in an entry that was not near anything yet: to read all of them at once takes long."""


@dataclass(slots=True)
class Entry:
    """One question that was asked, and its answer.

    Attributes:
        id: unlike any other's in this cache, and of those that came before.
        scope: digest of all that has to be equal; text: the question; vector: of it, length 1.
        raw: the answer, as it was stored. digest: of its text; equal ones are the same answer. sense: the
            vector of its text, where a policy learns.
        read: what the guards go by, once one of them was asked. expires: when it is no longer served,
            seconds since 1970; None: never.
    """

    id: int
    scope: str
    text: str = field(repr=False)
    vector: Any = field(repr=False)
    raw: bytes | str = field(repr=False)
    digest: str = ""
    sense: Any = field(default=None, repr=False)
    read: tuple[Any, ...] | None = field(default=UNREAD, repr=False)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may answer a question.

    Attributes:
        score: cosine of the two questions, -1 to 1.
        agreement: whether other near entries have the same answer, -1 to 1; 0 where there are none.
    """

    entry: Entry
    score: float
    agreement: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that was given to another question.

    Attributes:
        answer: as it was stored. score: cosine of the two questions. exact: the same but for how it is
            written. entry: the id of the entry. audit: it is one of those to be checked.
        weight: how many hits such a check stands for.
    """

    answer: Any = field(repr=False)
    score: float
    exact: bool
    entry: int
    audit: bool = False
    agreement: float = field(default=0.0, repr=False)
    weight: float = field(default=1.0, repr=False)
