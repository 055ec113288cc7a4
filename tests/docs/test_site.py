"""The site has every page, in reading order, and every decision is linked from their list."""

from __future__ import annotations

import re

from tests.architecture.syntax import ROOT

DOCS = ROOT / "docs"


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"[\w/-]+\.md", ROOT.joinpath("mkdocs.yml").read_text().partition("\nnav:")[2])
    assert sorted(named) == sorted([*(page.name for page in DOCS.glob("*.md")), "adr/README.md"])


def test_every_page_can_be_reached_from_the_first() -> None:
    index = DOCS.joinpath("index.md").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_every_decision_is_in_the_list() -> None:
    listed = DOCS.joinpath("adr", "README.md").read_text()
    decisions = {page.name for page in DOCS.joinpath("adr").glob("0*.md")}
    assert {page for page in decisions if f"]({page})" not in listed} == set()


def test_the_package_shows_the_readme() -> None:
    assert '\nreadme = "README.md"\n' in ROOT.joinpath("pyproject.toml").read_text()
