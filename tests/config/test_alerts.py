"""Alerts as a file says them."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster import ConfigError
from langchain_cluster.config.build import cluster_arguments
from langchain_cluster.config.load import load
from langchain_cluster.telemetry.alerts import LogSink, WebhookSink


def config(alerts: Any) -> Any:
    return load(
        {"endpoints": [{"id": "a", "model": "openai:m", "url": "http://10.0.0.1:8000/v1"}], "alerts": alerts}
    )


def made(alerts: Any) -> Any:
    return config(alerts).alerts.make()


def test_a_rule_has_its_options_and_times_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URL", "https://hooks.example/secret")
    monkeypatch.setenv("ALERT_TOKEN", "Bearer hidden")
    alerts = made(
        {
            "rules": [
                {"kind": "endpoint_down", "for": "2m", "level": "critical", "react": "drain", "repeat": "1h"},
                {"kind": "error_budget_burn", "objective": 0.99, "windows": [[600, 60, 10]]},
                "cache_down",
            ],
            "sinks": [
                "log",
                {"kind": "webhook", "url_env": "ALERT_URL", "headers_env": {"Authorization": "ALERT_TOKEN"}},
            ],
            "every": "500ms",
        }
    )
    down, burn, _ = alerts.rules
    assert (down.for_seconds, down.repeat, down.level, down.react[0].action) == (
        120,
        3600,
        "critical",
        "drain",
    )
    assert burn.windows == [(600.0, 60.0, 10.0)]
    assert [type(sink) for sink in alerts.sinks] == [LogSink, WebhookSink]
    assert alerts.every == 0.5
    assert "hidden" not in repr(vars(alerts)) + repr(config({"rules": []}))


def test_nothing_said_is_everything_there_is_a_rule_for() -> None:
    assert len(made({}).rules) == 7
    assert config(None).alerts is None


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        ({"rules": [{"kind": "nothing"}]}, "alerts.rules.0: unknown alert rule 'nothing'"),
        ({"rules": [{"kind": "endpoint_down", "fro": "3s"}]}, "has no option 'fro': expected one of for"),
        ({"rules": [{"kind": "endpoint_down", "for": "3 weeks"}]}, "is no duration"),
        ({"rules": [{"kind": "endpoint_down", "react": "explode"}]}, "unknown reaction 'explode'"),
        ({"rules": [{"kind": "cache_down", "token": "x"}]}, "a secret does not belong in a config"),
        ({"sinks": [{"kind": "webhook", "url": "https://x"}]}, "alerts.sinks.0.url: give the name"),
        ({"sinks": [{"kind": "webhook", "url_env": "https://x"}]}, "is not the name of an environment"),
        (
            {"sinks": [{"kind": "webhook", "url_env": "X", "headers_env": {"Authorization": "Bearer x"}}]},
            "is not the name of an environment variable",
        ),
        ({"sinks": [{"kind": "pigeon"}]}, "unknown kind 'pigeon'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(alerts: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(alerts)
    assert told in str(error.value)
    assert "Bearer" not in str(error.value)


def test_a_variable_that_is_not_set_is_told_when_the_cluster_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("OPENAI_API_KEY", "-")
    monkeypatch.delenv("ALERT_URL", raising=False)
    with pytest.raises(
        ConfigError, match=r"alerts.sinks.0.url_env: the environment variable ALERT_URL is not"
    ):
        cluster_arguments(config({"sinks": [{"kind": "webhook", "url_env": "ALERT_URL"}]}))
