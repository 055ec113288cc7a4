"""A quick copy of a model is what pydantic's own copy is."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, PrivateAttr

from langchain_cluster.endpoints.copied import copied


class Odd(BaseModel):
    """With all that a model may have beside its fields."""

    model_config = ConfigDict(extra="allow")
    name: str = "odd"
    size: int = 1
    _seen: list[int] = PrivateAttr(default_factory=list)


@pytest.mark.parametrize("changed", [{}, {"id": "new", "response_metadata": {"a": 1}}])
def test_it_is_what_model_copy_makes(changed: dict[str, Any]) -> None:
    message = AIMessage("hello", name="n")
    mine, theirs = copied(message, **changed), message.model_copy(update=changed)
    assert mine == theirs
    assert mine.model_fields_set == theirs.model_fields_set
    assert type(mine) is AIMessage


def test_a_change_of_the_copy_is_none_of_the_original() -> None:
    original = Odd.model_validate({"name": "one", "more": 1})
    new = copied(original, size=2)
    new.name = "other"
    new._seen = [1]
    assert (original.name, original.size, original._seen) == ("one", 1, [])
    assert original.model_fields_set == {"name", "more"}
    assert (new.size, new.__pydantic_extra__) == (2, {"more": 1})
