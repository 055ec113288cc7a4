"""An audit trail read again: is it whole, and what do its lines add up to?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from langchain_cluster.errors import ConfigError
from langchain_cluster.telemetry.audit import BEGINNING, SEAL, rotated

SUMMED = ("tenant", "user", "agent", "model", "endpoint", "tier", "outcome", "cache", "operation")


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of verifying a trail.

    Attributes:
        lines: how many were read.
        first: number of the first; more than 1 when older files are gone.
        last: hash of the last. Keep it elsewhere: a trail whose end was cut off is whole in itself.
        problem: what is wrong, and where; None for nothing.
    """

    lines: int
    first: int
    last: str
    problem: str | None = None


def files(path: Path) -> list[Path]:
    """The trail's files, the oldest first.

    Raises:
        ConfigError: there is none.
    """
    found = [path] if path.exists() else []
    number = 1
    while rotated(path, number).exists():
        found.insert(0, rotated(path, number))
        number += 1
    if not found:
        raise ConfigError(f"{path} does not exist", key="audit")
    return found


def raw_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """(place, line) of every line, the oldest first; one that has no end has none here either."""
    for file in files(path):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                yield f"{file.name}:{number}", line


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every line that can be read, the oldest first."""
    for _, line in raw_lines(path):
        try:
            told = orjson.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            yield told


def verify(path: Path) -> Verified:
    """Whether every line carries its own hash and that of the line before it."""
    lines = first = following = 0
    last = ""
    for place, raw in raw_lines(path):
        body, seal, _ = raw.rpartition(SEAL)
        try:
            told = orjson.loads(raw)
            number, own, previous = told["number"], told["hash"], told["previous"]
        except (ValueError, KeyError, TypeError):
            return Verified(lines, first, last, f"{place}: no line of a chained trail")
        if not lines:
            first, last = number, BEGINNING if number == 1 else previous
            following = number
        if not seal or own != sha256(body + b"}").hexdigest():
            return Verified(lines, first, last, f"{place}: the line was changed")
        if previous != last or number != following:
            return Verified(lines, first, last, f"{place}: lines before this one were changed or are missing")
        lines, last, following = lines + 1, own, number + 1
    return Verified(lines, first, last)


@dataclass(slots=True)
class Total:
    """What the lines of one group add up to."""

    calls: int = 0
    failed: int = 0
    hits: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


def sums(path: Path, by: str) -> dict[str, Total]:
    """Totals by what stands in a field; those with the most calls first.

    Raises:
        ConfigError: there is no such field to sum by.
    """
    if by not in SUMMED:
        raise ConfigError(f"{by!r} is nothing to sum by", key="by", valid=list(SUMMED), got=by)
    found: dict[str, Total] = {}
    for told in records(path):
        if "outcome" not in told:
            continue  # it says how many lines were lost
        total = found.setdefault(str(told.get(by) or "-"), Total())
        total.calls += 1
        total.failed += told["outcome"] not in ("ok", "hit", "degraded")
        total.hits += told["outcome"] == "hit"
        total.input_tokens += told.get("input_tokens") or 0
        total.output_tokens += told.get("output_tokens") or 0
        total.cost_usd += told.get("cost_usd") or 0.0
    return dict(sorted(found.items(), key=lambda item: -item[1].calls))
