"""How much money calls may cost: of whom, how much, and in which stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.strict import Strict, relocated

Per = Literal["hour", "day", "week", "month", "total"]
Whose = Literal["cluster", "agent", "tenant"]


class Budget(Strict):
    """What calls may cost together, in USD, by the `price` of the endpoints that are asked.

    Args:
        amount: USD, >= 0; with 0 only endpoints that cost nothing are asked.
        per: the stretch of time it is for, by the calendar in UTC (a week begins on Monday); "total":
            for as long as the process lives.
        scope: whose calls count: all of the "cluster", or those of each "agent" or "tenant" apart. A
            call that names no agent, or tenant, is nobody's.
        name: of the one agent or tenant it is for; None: each of them has as much.
        tell_at: parts of it, above 0 and below 1, at which it is told that so much is spent.
    """

    amount: float = Field(ge=0, allow_inf_nan=False)
    per: Per = "day"
    scope: Whose = "cluster"
    name: str | None = Field(None, min_length=1)
    tell_at: tuple[float, ...] = (0.8,)

    @field_validator("amount", mode="before")
    @classmethod
    def _is_money(cls, amount: object) -> object:
        if isinstance(amount, bool | str):
            raise ValueError(f"{amount!r} is no amount of USD: write a number")
        return amount

    @field_validator("tell_at")
    @classmethod
    def _are_parts(cls, parts: tuple[float, ...]) -> tuple[float, ...]:
        for part in parts:
            if not 0.0 < part < 1.0:
                raise ValueError(f"{part!r} is not above 0 and below 1")
        return tuple(sorted(parts))

    @model_validator(mode="after")
    def _of_somebody(self) -> Self:
        if self.name is not None and self.scope == "cluster":
            raise ValueError(f"name {self.name!r} means nothing to a cluster's budget: give a scope too")
        return self


def a_budget_list(given: Any, endpoints: Iterable[Endpoint], *, discovers: bool) -> tuple[Budget, ...]:
    """The budgets somebody means: one, several, or what they are made of.

    Args:
        endpoints: who can be asked. discovers: whether there may be others later.

    Raises:
        ConfigError: it is none, there are two for the same, or no endpoint costs anything.
    """
    if isinstance(given, Budget | Mapping):
        given = (given,)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"{type(given).__name__} is not a list of Budget", key="budgets")
    budgets: list[Budget] = []
    for number, each in enumerate(given):
        key = f"budgets.{number}"
        if isinstance(each, Mapping):
            try:
                each = Budget(**each)
            except ConfigError as error:
                raise relocated(error, under=key) from None
        if not isinstance(each, Budget):
            raise ConfigError(f"{type(each).__name__} is not a Budget", key=key)
        for before, other in enumerate(budgets):
            if (each.scope, each.name, each.per) == (other.scope, other.name, other.per):
                whose = each.name or (each.scope if each.scope == "cluster" else f"each {each.scope}")
                raise ConfigError(f"{whose} has a budget per {each.per} already, budgets.{before}", key=key)
        budgets.append(each)
    if budgets and not discovers and all(endpoint.price is None for endpoint in endpoints):
        raise ConfigError(
            "no endpoint has a price, so nothing would be counted: give each that costs something a Price",
            key="budgets",
        )
    return tuple(budgets)
