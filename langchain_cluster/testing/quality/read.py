"""Questions somebody has judged: pairs that share an answer or not, or questions with their answers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import orjson

from langchain_cluster.errors import ConfigError

FIRST = ("a", "question1", "question", "first")
SECOND = ("b", "question2", "candidate", "second")
SAME = ("same", "same_answer", "is_duplicate", "label")
TEXT = ("text", "question", "prompt")
ANSWER = ("answer", "category", "intent")
_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "same", "hit"), True),
    **dict.fromkeys(("false", "0", "no", "different", "trap"), False),
}
EXPECTED = (
    "expected pairs, such as a,b,same with same true or false, or questions, such as text,answer"
    ' (CSV with a head; JSON Lines such as {"a": "...", "b": "...", "same": true})'
)
LONGEST = 131_072 * 8  # characters of one CSV field


@dataclass(frozen=True, slots=True)
class Judged:
    """What a file holds: one of the two is empty.

    Attributes:
        pairs: two questions, and whether one answer does for both.
        stream: a question and what its answer is, as some name of it.
    """

    pairs: tuple[tuple[str, str, bool], ...] = ()
    stream: tuple[tuple[str, str], ...] = ()


def read_judged(path: str | PathLike[str], limit: int | None = None) -> Judged:
    """The judged questions of a .csv or .jsonl file, the first `limit` of them.

    Raises:
        ConfigError: it cannot be read, or a line is not what is expected; it says which and what.
    """
    file = Path(path)
    kinds = (".csv", ".jsonl", ".ndjson")
    if file.suffix not in kinds:
        raise ConfigError(
            f"unknown kind of file {file.suffix!r}", file=str(path), valid=kinds, got=file.suffix
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(path)) from None
    rows = _csv(text, str(path)) if file.suffix == ".csv" else _json_lines(text, str(path))
    pairs: list[tuple[str, str, bool]] = []
    stream: list[tuple[str, str]] = []
    for number, row in rows:
        place = f"line {number}"
        if _name(row, SAME) is not None and _name(row, SECOND) is not None:
            first, second = _text(row, FIRST, path, place), _text(row, SECOND, path, place)
            pairs.append((first, second, _same(row, path, place)))
        elif _name(row, TEXT) is not None and _name(row, ANSWER) is not None:
            stream.append((_text(row, TEXT, path, place), _text(row, ANSWER, path, place)))
        else:
            raise ConfigError(
                f"it has {', '.join(map(str, row)) or 'nothing'}: {EXPECTED}", file=str(path), key=place
            )
        if pairs and stream:
            raise ConfigError(
                "some lines are pairs and some are questions: one of them, please", file=str(path), key=place
            )
        if limit is not None and len(pairs) + len(stream) >= limit:
            break
    if not pairs and not stream:
        raise ConfigError(f"holds nothing: {EXPECTED}", file=str(path))
    return Judged(tuple(pairs), tuple(stream))


def _csv(text: str, file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(LONGEST)
    reader = csv.DictReader(StringIO(text, newline=""))
    try:
        for row in reader:
            if None in row or None in row.values():
                wanted = len(reader.fieldnames or ())
                raise ConfigError(
                    f"its head names {wanted} columns, and this line has"
                    f" {'more' if None in row else 'fewer'}: quote texts that hold a comma",
                    file=file,
                    key=f"line {reader.line_num}",
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"this is no CSV: {error}", file=file, key=f"line {reader.line_num}") from None


def _json_lines(text: str, file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"this is no JSON: {error}", file=file, key=f"line {number}") from None
        if not isinstance(row, dict):
            raise ConfigError(f"this is a {type(row).__name__}: {EXPECTED}", file=file, key=f"line {number}")
        yield number, row


def _name(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _text(row: Mapping[str, Any], names: Sequence[str], file: Any, place: str) -> str:
    name = _name(row, names)
    value = None if name is None else row[name]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name or names[0]} {value!r} is not a text", file=str(file), key=place)
    return value


def _same(row: Mapping[str, Any], file: Any, place: str) -> bool:
    name = _name(row, SAME) or ""
    value = row[name]
    if isinstance(value, bool):
        return value
    told = _WORDS.get(str(value).strip().lower())
    if told is None:
        raise ConfigError(f"{name} {value!r} is neither true nor false", file=str(file), key=place)
    return told
