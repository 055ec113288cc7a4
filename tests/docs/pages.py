"""The user's pages as the tests read them: fenced blocks, tables, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.syntax import ROOT

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+|~~~+) *(?P<language>[\w+-]*)(?P<rest>[^\n`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_MARKER = re.compile(r"^<!-- (?P<name>[^>]+?) -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first line of text, from 1.

    Args:
        title: what stands in `title="..."` behind the language.
        output: the text of a `text` block that follows with nothing but blank lines between.
    """

    page: Path
    line: int
    language: str
    text: str
    title: str | None = None
    output: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and the guide, without the decisions and the changelog's fragments."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, from top to bottom."""
    found: list[tuple[Block, int]] = []  # with the line after the closing fence
    lines = page.read_text(encoding="utf-8").split("\n")
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        start = number = number + 1
        while number < len(lines) and lines[number].strip() != opening["ticks"]:
            number += 1
        assert number < len(lines), f"{page.name}:{start}: this fence is never closed"
        indent = len(opening["indent"])
        text = "\n".join(line[indent:] for line in lines[start:number])
        title = _TITLE.search(opening["rest"])
        block = Block(page, start + 1, opening["language"], text, title[1] if title else None)
        if block.language == "text" and found:
            before, end = found[-1]
            if before.language == "python" and not any(line.strip() for line in lines[end : start - 1]):
                found[-1] = (
                    Block(page, before.line, before.language, before.text, before.title, text),
                    end,
                )
        number += 1
        found.append((block, number))
    return [block for block, _ in found]


def table(page: Path, marker: str) -> list[list[str]]:
    """The cells of the table after `<!-- marker -->`, without its head. Raises LookupError if it is gone."""
    lines = page.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        found = _MARKER.match(line)
        if found and found["name"] == marker:
            rows = [_cells(row) for row in _rows(lines[number + 1 :])]
            if len(rows) > 2:
                return rows[2:]
    raise LookupError(f"{name_of(page)} has no table under <!-- {marker} -->")


def markers(page: Path, kind: str) -> list[str]:
    """What stands behind `kind:` in the page's markers."""
    found = (_MARKER.match(line) for line in page.read_text(encoding="utf-8").split("\n"))
    names = [match["name"] for match in found if match]
    return [name.removeprefix(f"{kind}: ") for name in names if name.startswith(f"{kind}: ")]


def column(page: Path, marker: str, place: int = 0) -> list[str]:
    """One column of that table, with the backticks taken off."""
    return [row[place].strip("`") for row in table(page, marker)]


def _rows(lines: list[str]) -> Iterator[str]:
    begun = False
    for line in lines:
        if line.startswith("|"):
            begun = True
            yield line
        elif begun or line.strip():
            return


def _cells(row: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]
