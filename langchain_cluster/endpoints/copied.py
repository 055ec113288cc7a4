"""Copies of messages and results with other values in some fields, in a third of pydantic's time."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def copied(model: M, **changed: Any) -> M:
    """A shallow copy of `model`, where the fields `changed` have other values.

    As `model_copy(update=changed)`, without looking its way up: every call makes some of these. Nothing is
    checked, as there.
    """
    new = object.__new__(type(model))
    put = object.__setattr__
    put(new, "__dict__", {**model.__dict__, **changed})
    put(new, "__pydantic_extra__", model.__pydantic_extra__)
    put(new, "__pydantic_fields_set__", {*model.__pydantic_fields_set__, *changed})
    private = model.__pydantic_private__
    put(new, "__pydantic_private__", None if private is None else {**private})
    return new
