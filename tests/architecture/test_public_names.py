"""The public names change on purpose: adding or removing one means editing public_names.txt."""

from pathlib import Path

import pytest

import langchain_cluster

PINNED = Path(__file__).with_name("public_names.txt").read_text().split()


def test_the_public_names_are_the_pinned_ones() -> None:
    assert sorted(langchain_cluster.__all__) == PINNED


@pytest.mark.parametrize("name", PINNED)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(langchain_cluster, name)
    if isinstance(value, type) or callable(value):
        assert (value.__doc__ or "").strip()
