"""A sample fits its schema, and says what the prompt says."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, conint

from langchain_cluster.testing.simulated.sample import Prompted, sample


class Leaf(BaseModel):
    kind: Literal["leaf"]
    size: float = Field(gt=0, lt=0.5)


class Tree(BaseModel):
    name: str = Field(min_length=12, max_length=20)
    children: list[Tree | Leaf]
    parent: Tree | None
    pair: tuple[int, str]
    flags: dict[str, bool]
    optional: int = 3


@pytest.mark.parametrize(
    "kind",
    [
        Tree,
        Leaf,
        list[Leaf],
        int | None,
        Literal["a", 1],
        dict[str, int],
        conint(multiple_of=7, ge=8),
        bool,
        None,
    ],
)
def test_a_sample_is_valid(kind: object) -> None:
    adapter = TypeAdapter(kind)
    for text in ("", "12 and -3.5 of 'this', \"that\"", "0"):
        adapter.validate_json(json.dumps(sample(adapter.json_schema(), Prompted(text))))


def test_numbers_and_quotes_are_taken_in_order() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "who": {"type": "string"},
            "b": {"type": "number"},
            "c": {"type": "integer", "maximum": 5},
        },
        "required": ["a", "who", "b", "c"],
    }
    prompted = Prompted("f(3) and x2, -1.5 by 'Ann' don't 99")
    assert sample(schema, prompted) == {"a": 3, "who": "Ann", "b": -1.5, "c": 5}


def test_references_and_all_of_are_followed() -> None:
    schema = {
        "$defs": {"name": {"type": "object", "properties": {"n": {"type": "null"}}, "required": ["n"]}},
        "allOf": [{"$ref": "#/$defs/name"}, {"properties": {"f": {"format": "date"}}, "required": ["f"]}],
    }
    assert sample(schema, Prompted("")) == {"n": None, "f": "2024-01-31"}


@given(st.integers(-9, 9), st.integers(0, 9), st.text(max_size=20))
def test_integers_stay_within_their_bounds(low: int, span: int, text: str) -> None:
    schema = {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + span + 2}
    assert low < sample(schema, Prompted(text)) < low + span + 2
