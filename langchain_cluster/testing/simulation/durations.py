"""A distribution of seconds as it is written in a file: '100ms', 'uniform:50ms,2s', 'lognormal:1s,0.5'."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError, WithJsonSchema

from langchain_cluster.model.strict import Seconds
from langchain_cluster.testing.simulated.latency import Fixed, LogNormal, Uniform

_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
_WRITTEN = re.compile(r"\s*(uniform|lognormal)\s*:([^,]+),([^,]+)")
_BARE = re.compile(r"\s*\d+(?:\.\d+)?\s*")


def _one(text: Any) -> float:
    if isinstance(text, str) and _BARE.fullmatch(text):
        text = float(text)
    try:
        return _SECONDS.validate_python(text)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _parse(given: Any) -> Any:
    if isinstance(given, Fixed | Uniform | LogNormal):
        return given
    match = _WRITTEN.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        if isinstance(given, str) and ":" in given:
            raise ValueError(
                f"{given!r} is no distribution: write '100ms', 'uniform:50ms,2s' or"
                " 'lognormal:MEDIAN,SIGMA' such as 'lognormal:1s,0.5'"
            )
        return Fixed(_one(given))
    kind, first, second = match.groups()
    if kind == "uniform":
        low, high = _one(first), _one(second)
        if low > high:
            raise ValueError(f"{given!r} has its bounds in the wrong order")
        return Uniform(low, high)
    if not _BARE.fullmatch(second):
        raise ValueError(f"{given!r}: sigma is a number, not {second!r}")
    return LogNormal(_one(first), float(second))


Duration = Annotated[
    Fixed | Uniform | LogNormal,
    BeforeValidator(_parse),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}],
            "description": "seconds, '100ms', 'uniform:LOW,HIGH' or 'lognormal:MEDIAN,SIGMA'",
            "examples": ["100ms", "uniform:50ms,2s", "lognormal:1s,0.5"],
        }
    ),
]
"""How long something takes, each time anew."""
