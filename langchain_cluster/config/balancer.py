"""A balancer as it is written in a file: its name, or a mapping of its kind and options."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, model_validator

from langchain_cluster.balancer.registry import BALANCERS, GROUP
from langchain_cluster.kinds import factory, made, options_of, refuse_unknown
from langchain_cluster.model.strict import Strict
from langchain_cluster.ports import Balancer


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
        make = factory("balancer", self.kind, BALANCERS, GROUP)
        takes = options_of(make)
        refuse_unknown(self.kind, self.options, None if takes is None else list(takes))
        balancer: Balancer = made(self.kind, make, self.options)
        return balancer
