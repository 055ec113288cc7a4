"""An operation on several stores, written once: it asks them in turn, in either colour, as plans do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Ask(NamedTuple):
    """Call an operation of a layer; in the awaited colour, its twin."""

    layer: Any
    operation: str
    given: tuple[Any, ...]


Asking = Generator[Ask, Any, T]


def run(asking: Asking[T]) -> T:
    """Ask layers by blocking."""
    try:
        ask = next(asking)
        while True:
            try:
                answer = getattr(ask.layer, ask.operation)(*ask.given)
            except Exception as error:
                ask = asking.throw(error)
            else:
                ask = asking.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun(asking: Asking[T]) -> T:
    """Ask layers by awaiting their twins."""
    try:
        ask = next(asking)
        while True:
            try:
                answer = await getattr(ask.layer, f"a{ask.operation}")(*ask.given)
            except Exception as error:
                ask = asking.throw(error)
            else:
                ask = asking.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
