"""Where secrets come from: environment variables, by name. What is not allowed: a secret in a config.

A config is committed, mailed and printed, so every key that would hold a secret is refused, and the
same key with `_env` behind it takes the name of a variable. No message here shows a value, and a name
that looks like a value (somebody put the key itself where its name belongs) is not shown either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_cluster.errors import ConfigError

_SECRET = re.compile(
    r"""(?ix)
    (?: api[-_]?key | (?:access|private|subscription)[-_]?key | passw(?:or)?d | credentials?
      | (?:^|[-_])(?:secret|authorization|cookie)
      | (?:^|(?:auth|access|api|bearer|hf|id|refresh|security|session)[-_]?)token
    )$"""
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")  # how people name variables, and hardly any secret looks


def is_secret(key: str) -> bool:
    """Whether a value under that key would be a secret."""
    return _SECRET.search(key) is not None


def refuse_secrets(given: Any, *, instead: str | None = None) -> None:
    """Look through mappings and lists for keys that would hold a secret.

    Args:
        instead: the key to use in place of any of them; the same key with `_env` behind it if None.

    Raises:
        ConfigError: there is one; its key is the dotted path. Or a `..._env` that names no variable.
    """
    for path, key, value in _entries(given, ()):
        if key.endswith("_env"):
            if value is not None:  # names none, as if it were not there: so is a config written out
                _check_name(value, ".".join(path))
        elif is_secret(key):
            raise ConfigError(
                f"a secret does not belong in a config: put it into an environment variable, and give "
                f"the name of that variable as {instead or key + '_env'}",
                key=".".join(path),
            )


def _entries(given: Any, path: tuple[str, ...]) -> Any:
    if isinstance(given, Mapping):
        for key, value in given.items():
            yield (*path, str(key)), str(key), value
            yield from _entries(value, (*path, str(key)))
    elif isinstance(given, list | tuple):
        for number, value in enumerate(given):
            yield from _entries(value, (*path, str(number)))


def _check_name(value: Any, key: str) -> None:
    if not isinstance(value, str) or _VARIABLE.fullmatch(value) is None:
        raise ConfigError(
            "is not the name of an environment variable (letters, digits and _; its value is not shown, "
            "in case it is the secret itself)",
            key=key,
        )


def variable(name: str, key: str) -> str:
    """The value of an environment variable.

    Raises:
        ConfigError: it is not set, or empty.
    """
    value = os.environ.get(name, "")
    if value:
        return value
    shown = name if _SHOWABLE.fullmatch(name) else "named here (not shown: it looks like the secret itself)"
    state = "empty" if name in os.environ else "not set"
    raise ConfigError(f"the environment variable {shown} is {state}", key=key)


def with_variables(given: Any, key: str, read: Callable[[str, str], str] = variable) -> Any:
    """`given` with each `name_env: VARIABLE` in it, however deep, replaced by `name: its value`.

    One whose variable is None is left out.

    Args:
        read: a variable's name and its key -> its value.
    """
    if isinstance(given, Mapping):
        return {
            name.removesuffix("_env"): read(value, f"{key}.{name}")
            if name.endswith("_env")
            else with_variables(value, f"{key}.{name}", read)
            for name, value in given.items()
            if value is not None or not name.endswith("_env")
        }
    if isinstance(given, list | tuple):
        return [with_variables(value, f"{key}.{number}", read) for number, value in enumerate(given)]
    return given
