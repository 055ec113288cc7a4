"""A link inside the repository leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.syntax import ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<img[^>]+src=\"([^\"]+)\"")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|#)", re.IGNORECASE)


def pages() -> list[Path]:
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "integrations", "examples"):
        found += ROOT.joinpath(folder).rglob("*.md")
    return sorted(found)


def dead_links(page: Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in LINK.finditer(re.sub(r"`[^`\n]*`", "", text)):
        target = (match[1] or match[2]).partition("#")[0]
        if target and not ELSEWHERE.match(target) and not (page.parent / target).exists():
            yield target


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert list(dead_links(page)) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[here](page.md#top) [there](gone.md) ![picture](gone.svg)\n"
        '<img alt="x" src="lost.png"> [web](https://example.org/x) [up](#top) `[code](no.md)`\n'
        "```\n[fenced](no.md)\n```\n"
    )
    assert list(dead_links(page)) == ["gone.md", "gone.svg", "lost.png"]
