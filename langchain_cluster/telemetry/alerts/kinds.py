"""Rules by kind name, ours and other packages'.

[project.entry-points."langchain_cluster.alert_rules"]
my_rule = "my_package:MyRule"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.kinds import factory, made, options_of, refuse_unknown
from langchain_cluster.ports import AlertRule
from langchain_cluster.telemetry.alerts.burn import ErrorBudgetBurn
from langchain_cluster.telemetry.alerts.rule import Rule
from langchain_cluster.telemetry.alerts.rules import EndpointDown, PoolBelow
from langchain_cluster.telemetry.alerts.told import BudgetSpent, CacheDown, DiscoveryStale, RetryBudgetSpent

GROUP = "langchain_cluster.alert_rules"  # of entry points
OURS = (EndpointDown, PoolBelow, ErrorBudgetBurn, RetryBudgetSpent, CacheDown, DiscoveryStale, BudgetSpent)
RULES: dict[str, Callable[..., AlertRule]] = {kind.kind: kind for kind in OURS}


def options_for(kind: str) -> list[str] | None:
    """The options rules of that kind take; None if any. Raises PluginError for an unknown kind."""
    make = factory("alert rule", kind, RULES, GROUP)
    takes = options_of(make)
    if takes is not None:
        return list(takes)
    if isinstance(make, type) and issubclass(make, Rule):  # `**settings`: those all rules have
        given = [vars(each)["__init__"] for each in make.__mro__ if "__init__" in vars(each)]
        return list(dict.fromkeys(name for init in given[:-1] for name in init.__kwdefaults__ or ()))
    return None


def make_rule(kind: str, options: Mapping[str, Any] | None = None) -> AlertRule:
    """A new rule of that kind.

    Raises:
        PluginError: no such kind. ConfigError: an option it does not have, or a value it does not take.
    """
    options = options or {}
    refuse_unknown(kind, options, options_for(kind))
    rule = made(kind, factory("alert rule", kind, RULES, GROUP), options)
    return a_rule(rule, kind)


def a_rule(given: Any, key: str) -> AlertRule:
    """The rule itself; a name stands for one with nothing said. Raises ConfigError for anything else."""
    if isinstance(given, str):
        return make_rule(given)
    if isinstance(given, type) or not isinstance(given, AlertRule):
        raise ConfigError(f"{type(given).__name__} is no AlertRule: it has no name, feed and check", key=key)
    return given
