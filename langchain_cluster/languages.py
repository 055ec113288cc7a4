"""From the bytes of a file to a mapping, in three languages, and with one kind of error.

The readers of the standard library and PyYAML keep the last of two equal keys and say nothing; here a
key that is given twice is an error, in JSON and YAML as it already is in TOML.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from langchain_cluster.errors import ConfigError

_BOM = b"\xef\xbb\xbf"
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class _Broken(Exception):
    """The text is not of its language; args: what is wrong, line and column (from 1) or None."""


def text_of(raw: bytes, *, file: str) -> str:
    """The text of a file. Raises ConfigError when it is not UTF-8, with the offset of the first byte."""
    skipped = len(_BOM) if raw.startswith(_BOM) else 0
    try:
        return raw[skipped:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + skipped
        raise ConfigError(
            f"is not UTF-8: byte 0x{raw[offset]:02x} at offset {offset}; save it as UTF-8", file=file
        ) from None


def parse(text: str, suffix: str, *, file: str) -> Any:
    """What `text` says, in the language that `suffix` (one of `LANGUAGES`) stands for.

    Raises:
        ConfigError: it is not of that language, with line and column where the reader knows them.
    """
    name, read = LANGUAGES[suffix]
    try:
        return read(text)
    except _Broken as broken:
        problem, line, column = broken.args
        at = "" if line is None else f" at line {line}, column {column}"
        raise ConfigError(f"broken {name}{at}: {problem}", file=file) from None
    except RecursionError:
        raise ConfigError(f"broken {name}: it is nested too deeply", file=file) from None
    except Exception as error:  # PyYAML lets out whatever int(), date() and a dict raise on odd scalars
        raise ConfigError(f"broken {name}: {error}", file=file) from None


def _yaml(text: str) -> Any:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_duplicates(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "not understood"
        raise _Broken(problem, *((mark.line + 1, mark.column + 1) if mark else (None, None))) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        raise _Broken(
            f"character {error.character!r} is not allowed", before.count("\n") + 1, column
        ) from None


def _refuse_duplicates(root: yaml.Node) -> None:
    """Look at the nodes before anything is constructed: a merge (`<<`) may be overridden, a key may not."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue  # an alias
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[tuple[str, str]] = set()
            for key, value in node.value:
                waiting += (key, value)
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                if (key.tag, key.value) in keys:
                    mark = key.start_mark
                    raise _Broken(f"the key {key.value!r} is given twice", mark.line + 1, mark.column + 1)
                keys.add((key.tag, key.value))


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        if place is None:
            raise _Broken(message, None, None) from None
        lines = text.split("\n")
        line, column = place.groups() if place[1] else (len(lines), len(lines[-1]) + 1)
        raise _Broken(message[: place.start()], line, column) from None


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _Broken(error.msg, error.lineno, error.colno) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in pairs:
        if key in given:
            raise _Broken(f"the key {key!r} is given twice", None, None)
        given[key] = value
    return given


def _no_constant(name: str) -> Any:
    raise _Broken(f"{name} is not JSON", None, None)


LANGUAGES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    ".yaml": ("YAML", _yaml),
    ".yml": ("YAML", _yaml),
    ".toml": ("TOML", _toml),
    ".json": ("JSON", _json),
}
"""File name suffix -> the name of the language, and its reader."""
