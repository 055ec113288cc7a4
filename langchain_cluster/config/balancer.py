"""A balancer as it is written in a file: its name, or a mapping of its kind and options.

Kinds are ours and those other packages register as entry points, as in `langchain_cluster.plugins`
(which is a layer of its own, beside this one).
"""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import Any, Self

from pydantic import ConfigDict, model_validator

from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.errors import ConfigError, PluginError
from langchain_cluster.model.strict import Strict
from langchain_cluster.ports import Balancer

_GROUP = "langchain_cluster.balancers"


class BalancerConfig(Strict):
    """A kind of balancer, and whatever options that kind has, beside it."""

    model_config = ConfigDict(extra="allow")

    kind: str = "peak_ewma"

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.make()
        return self

    def make(self) -> Balancer:
        """A new balancer.

        Raises:
            ConfigError: no such kind, an option it does not have, or a value it does not take.
        """
        factory = _factory(self.kind)
        valid = _options_of(factory)
        for name in self.options:
            if valid == []:
                raise ConfigError(f"{self.kind} takes no options, not even {name!r}")
            if valid is not None and name not in valid:
                raise ConfigError(f"{self.kind} has no option {name!r}", valid=valid, got=name)
        try:
            balancer: Balancer = factory(**self.options)
        except ConfigError as error:
            key = (error.key or "").removeprefix("balancer").removeprefix(".")
            raise ConfigError(str(error).removeprefix(f"{error.key}: "), key=key or None) from None
        except Exception as error:  # a wrong type, or whatever a factory of another package raises
            raise ConfigError(f"{self.kind} cannot be made with these options: {error}") from None
        return balancer


def _factory(kind: str) -> Any:
    if kind in BALANCERS:
        return BALANCERS[kind]
    found = {point.name: point for point in entry_points(group=_GROUP)}
    if kind not in found:
        raise PluginError("balancer", kind, [*BALANCERS, *found])
    try:
        return found[kind].load()
    except Exception as error:  # importing another package may raise anything
        raise ConfigError(f"{kind} ({found[kind].value}) cannot be loaded: {error}", key="kind") from None


def _options_of(factory: Any) -> list[str] | None:
    """The names a factory takes; None if it takes any, or cannot be asked."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
