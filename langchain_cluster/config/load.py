"""A file, or a mapping, to a `ClusterConfig`; whatever is wrong with it becomes one `ConfigError`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from langchain_cluster.config.schema import ClusterConfig
from langchain_cluster.errors import ConfigError
from langchain_cluster.languages import LANGUAGES, parse, text_of
from langchain_cluster.model.strict import Strict, explain, relocated

M = TypeVar("M", bound=Strict)

DEEPEST = 50  # levels of nesting: far more than a config has, far less than Python can recurse


def load(source: str | Path | Mapping[str, Any] | ClusterConfig) -> ClusterConfig:
    """Read and validate a config. Nothing is built, and no environment variable is read.

    Args:
        source: a path (.yaml, .yml, .toml, .json), a mapping of the same shape, or a config.

    Raises:
        ConfigError: with the file, the key, and what would be valid.
    """
    if isinstance(source, ClusterConfig):
        return source
    if isinstance(source, Mapping):
        return _validated(ClusterConfig, source, file=None)
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(f"a config is a path, a mapping or a ClusterConfig, not a {type(source).__name__}")
    return load_as(ClusterConfig, source, needs="endpoints")


def load_as(model: type[M], source: str | Path, *, needs: str) -> M:
    """Read a file that says what `model` describes; `needs` is its one key that must be there, a list.

    Raises:
        ConfigError: with the file, the key, and what would be valid.
    """
    path = Path(source)
    file = str(source)
    text = text_of(_read(path, file), file=file)
    suffix = path.suffix.lower()
    if suffix not in LANGUAGES:
        raise ConfigError(f"unknown kind of file {suffix!r}", file=file, valid=list(LANGUAGES), got=suffix)
    given = parse(text, suffix, file=file) if text.strip() else None
    if given is None or (suffix == ".toml" and not given):
        raise ConfigError(f"is empty: it needs at least `{needs}`, a list", file=file)
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"is a {_kind(given)} at its top level, not a mapping with the key `{needs}`", file=file
        )
    return _validated(model, given, file=file)


def _read(path: Path, file: str) -> bytes:
    try:
        if path.is_dir():
            raise ConfigError(f"is a directory, not a {' '.join(LANGUAGES)} file", file=file)
        if not path.exists():
            raise ConfigError(f"there is no such file{_nearest(path)}", file=file)
        if not path.is_file():
            raise ConfigError("is not a regular file", file=file)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=file) from None
    except ValueError as error:  # a NUL in the name
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"is no path: {error}", file=repr(file)) from None


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f", nor its directory {str(path.parent)!r}"
    there = sorted(other for other in path.parent.iterdir() if other.suffix.lower() in LANGUAGES)
    near = get_close_matches(path.stem, [other.stem for other in there], n=1)  # suffixes are all alike
    meant = next((other.name for other in there if near and other.stem == near[0]), None)
    return f"; did you mean {meant!r}?" if meant else ""


def _kind(given: Any) -> str:
    return "list" if isinstance(given, list) else "text" if isinstance(given, str) else type(given).__name__


def _validated(model: type[M], given: Mapping[str, Any], *, file: str | None) -> M:
    try:
        config = model.model_validate(_plain(given, (), {}))
    except ValidationError as error:
        raise explain(error, model, file=file) from None
    except ConfigError as error:
        raise relocated(error, file=file) from None
    if isinstance(config, ClusterConfig):
        config._file = file
    return config


def _plain(given: Any, path: tuple[str, ...], known: dict[int, Any]) -> Any:
    """A copy of dicts with text keys, and lists. What an alias names twice stays one thing.

    Raises:
        ConfigError: a key that is not a text, a nesting in itself or without end.
    """
    if not isinstance(given, Mapping | list | tuple):
        return given
    if id(given) in known:
        if known[id(given)] is None:
            raise ConfigError("contains itself", key=".".join(path))
        return known[id(given)]
    if len(path) > DEEPEST:
        raise ConfigError(f"is nested more than {DEEPEST} levels deep", key=".".join(path[:3]) + "...")
    known[id(given)] = None
    copy: Any
    if isinstance(given, Mapping):
        for key in given:
            if not isinstance(key, str):
                raise ConfigError(
                    f"the key {key!r} is not a text: put it in quotes", key=".".join(path) or None
                )
        copy = {key: _plain(value, (*path, key), known) for key, value in given.items()}
    else:
        copy = [_plain(value, (*path, str(number)), known) for number, value in enumerate(given)]
    known[id(given)] = copy
    return copy
