"""An audit trail read again: is it whole, and what do its lines add up to?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from langchain_cluster.errors import ConfigError
from langchain_cluster.telemetry import anchor
from langchain_cluster.telemetry.audit import BEGINNING, SEAL, rotated

SUMMED = ("tenant", "user", "agent", "model", "endpoint", "tier", "outcome", "cache", "operation")


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of verifying a trail.

    Attributes:
        lines: how many were read.
        first: number of the first; more than 1 when older files are gone.
        last: hash of the last. Keep it elsewhere: whoever may write beside the trail may make all of it anew.
        problem: what is wrong, and where; None for nothing.
        anchored: whether it is noted beside the trail where it begins and ends; else a cut does not show.
    """

    lines: int
    first: int
    last: str
    problem: str | None = None
    anchored: bool = False


def files(path: Path) -> list[Path]:
    """The trail's files, the oldest first.

    Raises:
        ConfigError: there is none, or one cannot be read.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: give the trail's file", key="audit")
    found = {0: path} if path.exists() else {}
    for other in path.parent.glob(f"{escape(path.name)}.*"):
        number = other.name.rpartition(".")[2]
        if number.isascii() and number.isdigit() and rotated(path, int(number)) == other:
            found[int(number)] = other
    if not found:
        raise ConfigError(f"{path} does not exist", key="audit")
    for file in found.values():
        if not os.access(file, os.R_OK):
            raise ConfigError(f"{file} cannot be read", key="audit")
    return [found[number] for number in sorted(found, reverse=True)]


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
    """Whether every line is there and carries its own hash and that of the line before it.

    It may be written to meanwhile.
    """
    files(path)  # or there is nothing to verify
    for _ in range(_LOOKS):
        noted = _noted(path)
        found = _verify(path, noted)
        if found.problem is None or _noted(path) == noted:
            break
    return found


_LOOKS = 3  # a file may be rotated during one


def _noted(path: Path) -> anchor.Anchor | str | None:
    try:
        return anchor.read(path)
    except ValueError as error:
        return f"{anchor.anchor_of(path).name}: {error}"


def _verify(path: Path, noted: anchor.Anchor | str | None) -> Verified:
    lines = first = following = 0
    last = ""
    anchored = noted is not None

    def so_far(problem: str | None = None) -> Verified:
        return Verified(lines, first, last, problem, anchored)

    if isinstance(noted, str):
        return so_far(noted)
    for place, raw in raw_lines(path):
        body, seal, ending = raw.rpartition(SEAL)
        try:
            told = orjson.loads(raw)
            number, own, previous = told["number"], told["hash"], told["previous"]
        except (ValueError, KeyError, TypeError):
            return so_far(f"{place}: no line of a chained trail")
        if not lines:
            first, last = number, BEGINNING if number == 1 else previous
            following = number
        # Byte for byte: a field behind the seal would be read, and is in no hash.
        if not seal or own != sha256(body + b"}").hexdigest() or ending != f'{own}"}}\n'.encode():
            return so_far(f"{place}: the line was changed")
        if previous != last or number != following:
            return so_far(f"{place}: lines before this one were changed or are missing")
        if noted is not None and number == noted.number and own != noted.hash:
            return so_far(f"{place}: the chain was made anew up to here")
        lines, last, following = lines + 1, own, number + 1
    if noted is None:
        return so_far()
    if (end := following - 1) < noted.number:
        return so_far(
            f"it ends with number {max(end, 0)}, and was written up to {noted.number}: its end is missing"
        )
    if first > noted.first:
        return so_far(f"it begins with number {first} instead of {noted.first}: its beginning is missing")
    return so_far()


def _number(told: dict[str, Any], name: str) -> Any:
    """0 where it is not known, or somebody has made something else of it."""
    value = told.get(name)
    return value if type(value) in (int, float) else 0


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
        total.input_tokens += _number(told, "input_tokens")
        total.output_tokens += _number(told, "output_tokens")
        total.cost_usd += _number(told, "cost_usd")
    return dict(sorted(found.items(), key=lambda item: -item[1].calls))
