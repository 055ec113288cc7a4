"""Alerts: rules say what is wrong, sinks tell somebody, reactions do something about it."""

from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.ports import AlertRule, AlertSink
from langchain_cluster.telemetry.alerts.burn import ErrorBudgetBurn
from langchain_cluster.telemetry.alerts.reactions import Reaction
from langchain_cluster.telemetry.alerts.rule import Rule
from langchain_cluster.telemetry.alerts.rules import EndpointDown, PoolBelow
from langchain_cluster.telemetry.alerts.sinks import LogSink, WebhookSink
from langchain_cluster.telemetry.alerts.told import BudgetSpent, CacheDown, DiscoveryStale, RetryBudgetSpent
from langchain_cluster.telemetry.alerts.watch import Alerts, Watch

__all__ = [
    "Alert",
    "AlertRule",
    "AlertSink",
    "Alerts",
    "BudgetSpent",
    "CacheDown",
    "DiscoveryStale",
    "EndpointDown",
    "ErrorBudgetBurn",
    "Level",
    "LogSink",
    "PoolBelow",
    "Reaction",
    "RetryBudgetSpent",
    "Rule",
    "Watch",
    "WebhookSink",
]
