"""The kind a user names to the thing itself: ours, or one another package registers as an entry point.

    [project.entry-points."langchain_cluster.health_checks"]
    my_check = "my_package:MyCheck"

Balancers and health checks are found and made here, so that a mistake reads the same in each of them.
Ours win over another package's of the same name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from langchain_cluster.errors import ConfigError, PluginError


def factory(seam: str, kind: str, ours: Mapping[str, Any], group: str) -> Any:
    """What makes things of that kind.

    Args:
        seam: what it is a kind of, for the error ("balancer").
        ours: the kinds that come with this package.
        group: the entry point group of everybody else's.

    Raises:
        PluginError: no such kind. ConfigError: another package offers it, and it cannot be imported.
    """
    if kind in ours:
        return ours[kind]
    found = {point.name: point for point in entry_points(group=group)}
    if kind not in found:
        raise PluginError(seam, kind, [*ours, *found])
    try:
        return found[kind].load()
    except Exception as error:  # importing another package may raise anything
        raise ConfigError(f"{kind} ({found[kind].value}) cannot be loaded: {error}", key="kind") from None


def options_of(make: Any) -> dict[str, inspect.Parameter] | None:
    """The options a factory takes; None if it takes any, or cannot be asked."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def refuse_unknown(kind: str, names: Mapping[str, Any], valid: list[str] | None) -> None:
    """Look for an option that a kind does not have.

    Args:
        valid: the names of those it has; None if it takes any.

    Raises:
        ConfigError: there is one; with the names it has.
    """
    for name in names if valid is not None else ():
        if not valid:
            raise ConfigError(f"{kind} takes no options, not even {name!r}")
        if name not in valid:
            raise ConfigError(f"{kind} has no option {name!r}", valid=valid, got=name)


def made(kind: str, make: Any, options: Mapping[str, Any]) -> Any:
    """A new thing of that kind.

    Raises:
        ConfigError: it does not take these options, or needs one more; its key is the option, where the
            factory says which.
    """
    for name, taken in (options_of(make) or {}).items():
        if taken.default is taken.empty and name not in options:
            raise ConfigError(f"is missing: {kind} cannot be made without", key=name)
    try:
        return make(**options)
    except ConfigError as error:
        _, _, option = (error.key or "").rpartition(".")
        key = option if option in options else None
        told = ConfigError(str(error).removeprefix(f"{error.key}: "), key=key)
        told.valid = error.valid
        raise told from None
    except Exception as error:  # a wrong type, or whatever a factory of another package raises
        raise ConfigError(f"{kind} cannot be made with these options: {error}") from None
