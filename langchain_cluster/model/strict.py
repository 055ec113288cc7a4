"""The base of everything a user configures: frozen, no unknown keys, and one clear error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from reprlib import repr as shortly
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from langchain_cluster.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)\s*")


def _seconds(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("a duration is a number of seconds or a text such as '15s', not a boolean")
    if isinstance(given, str):
        match = _DURATION.fullmatch(given)
        if match is None:
            raise ValueError(f"{given!r} is no duration: write seconds (1.5) or '250ms', '15s', '2m', '1h'")
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"{given!r} is no finite number of seconds")
    return given


def seconds_of(given: Any, key: str) -> float:
    """A length of time somebody wrote: seconds > 0, or '250ms', '15s', '2m', '1h'.

    Raises:
        ConfigError: it is none.
    """
    try:
        seconds = _seconds(given)
    except ValueError as error:
        raise ConfigError(str(error), key=key) from None
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ConfigError(f"{given!r} is not a length of time > 0", key=key)
    return float(seconds)


_WRITTEN = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": rf"^{_DURATION.pattern}$"},
    ],
    "description": "seconds, or a text such as '250ms', '15s', '2m', '1h'",
}

Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0), WithJsonSchema(_WRITTEN)]
"""A length of time: float seconds inside, also '250ms', '15s', '2m', '1h' where a user writes it."""


class Strict(BaseModel):
    """A frozen pydantic model that raises `ConfigError` where pydantic would raise `ValidationError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, /, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise explain(error, type(self)) from None


# What pydantic says of a type, in the words of somebody who writes a file.
_WRONG_TYPE = {
    "missing": "is missing",
    "string_type": "is not a text",
    "dict_type": "is not a mapping",
    "mapping_type": "is not a mapping",
    "model_type": "is not a mapping",
    "model_attributes_type": "is not a mapping",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "set_type": "is not a list",
    "frozen_set_type": "is not a list",
}


def explain(error: ValidationError, model: type[BaseModel], *, file: str | None = None) -> ConfigError:
    """The most telling thing pydantic found wrong, as one `ConfigError` with the place and what is valid.

    An unknown key comes first: a misspelt one is also why another is missing.
    """
    found = error.errors(include_url=False)
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    kind, given, context = first["type"], first["input"], first.get("ctx", {})
    if kind == "extra_forbidden":
        unknown = str(first["loc"][-1])
        path, kinds = _place(model, first["loc"][:-1])
        return ConfigError(
            f"unknown key {unknown!r}", file=file, key=_dotted(path), valid=_names(kinds), got=unknown
        )
    path, kinds = _place(model, first["loc"])
    if isinstance(context.get("error"), ConfigError):
        return relocated(context["error"], under=_dotted(path), file=file)
    if kind in ("literal_error", "enum", "bool_parsing", "bool_type"):
        unknown = f"unknown value {shortly(given)}"
        return ConfigError(unknown, file=file, key=_dotted(path), valid=_choices(kinds), got=str(given))
    if kind == "union_tag_invalid":
        valid = [tag.strip("' ") for tag in str(context["expected_tags"]).split(",")]
        key, tag = context["discriminator"].strip("'"), str(context["tag"])
        return ConfigError(
            f"unknown {key} {tag!r}", file=file, key=_dotted([*path, key]), valid=valid, got=tag
        )
    if kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        return ConfigError("is missing", file=file, key=_dotted([*path, key]), valid=_tags(kinds, key))
    problem = _WRONG_TYPE.get(kind) or _worded(first["msg"], given)
    return ConfigError(problem, file=file, key=_dotted(path))


def relocated(error: ConfigError, *, under: str | None = None, file: str | None = None) -> ConfigError:
    """The same error one level further out: its key below `under`, and the file it was read from."""
    where = ": ".join(part for part in (error.file, error.key) if part)
    text = str(error).removeprefix(f"{where}: ") if where else str(error)
    key = ".".join(part for part in (under, error.key) if part)
    moved = ConfigError(text, file=file or error.file, key=key or None)
    moved.problem, moved.valid = error.problem, error.valid  # the text above has both already
    return moved


def _worded(message: str, given: Any) -> str:
    """Pydantic's message with the number it is about; a text is not shown, it may be a secret."""
    message = message.removeprefix("Value error, ")
    if isinstance(given, int | float) and message.startswith("Input "):
        return repr(given) + message.removeprefix("Input")
    return message[:1].lower() + message[1:]


def _dotted(path: Sequence[str]) -> str | None:
    return ".".join(path) or None


def _place(model: Any, loc: tuple[int | str, ...]) -> tuple[list[str], list[Any]]:
    """The keys a user wrote to get to `loc`, and the types that may stand there.

    Pydantic puts the names of union members between the keys. What no type on the way knows as a key
    is such a name, and is left out.
    """
    path: list[str] = []
    kinds = [model]
    for step in loc:
        below = [inner for kind in kinds for inner in _below(kind, step)]
        if below:
            path.append(str(step))
            kinds = [leaf for inner in below for leaf in _members(inner)]
    return path, kinds


def _below(kind: Any, step: int | str) -> Iterator[Any]:
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return
    if isinstance(step, int):
        if issubclass(origin, Sequence | Set) and origin is not str:
            yield (get_args(kind) or (Any,))[0]
    elif issubclass(origin, BaseModel):
        if step in origin.model_fields:
            yield origin.model_fields[step].annotation
    elif issubclass(origin, Mapping):
        yield (get_args(kind) or (Any, Any))[1]


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union, however deep; the annotation itself if it is none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _names(kinds: Sequence[Any]) -> list[str]:
    return sorted({name for kind in kinds for name in getattr(kind, "model_fields", {})})


def _choices(kinds: Sequence[Any]) -> list[str]:
    """What a closed set of values offers, in its own order."""
    offered: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            offered += [str(value) for value in get_args(kind)]
        elif isinstance(kind, type) and issubclass(kind, Enum):
            offered += [str(member.value) for member in kind]
        elif kind is bool:
            offered += ["true", "false"]
    return offered


def _tags(kinds: Sequence[Any], key: str) -> list[str]:
    fields = [kind.model_fields[key].annotation for kind in kinds if hasattr(kind, "model_fields")]
    return _choices(fields)
