"""The base of everything a user configures: frozen, no unknown keys, and one clear error."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

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


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A length of time: float seconds inside, also '250ms', '15s', '2m', '1h' where a user writes it."""


class Strict(BaseModel):
    """A frozen pydantic model that raises `ConfigError` where pydantic would raise `ValidationError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise explain(error, type(self)) from None


def explain(error: ValidationError, model: type[BaseModel], *, file: str | None = None) -> ConfigError:
    """The first thing pydantic found wrong, as one `ConfigError` with the place and what is valid."""
    first = error.errors(include_url=False)[0]
    path = [str(step) for step in first["loc"]]
    if first["type"] == "extra_forbidden":
        valid = _fields_at(model, first["loc"][:-1])
        return ConfigError(
            f"unknown key {path[-1]!r}", file=file, key=".".join(path[:-1]) or None, valid=valid, got=path[-1]
        )
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ConfigError):
        if inner.key:
            path.append(inner.key)
        problem = str(inner)[len(inner.key) + 2 :] if inner.key else str(inner)
        return ConfigError(problem, file=file, key=".".join(path) or None)
    problem = first["msg"].removeprefix("Value error, ")
    problem = problem[:1].lower() + problem[1:]
    return ConfigError(problem, file=file, key=".".join(path) or None)


def _fields_at(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that `path` leads to; aliases where they are what users write."""
    for step in path:
        if isinstance(step, str) and step in getattr(model, "model_fields", {}):
            model = model.model_fields[step].annotation
        model = _first_model(model) or model
    return sorted(getattr(model, "model_fields", {}))


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _first_model(part)
        if found is not None:
            return found
    return None
