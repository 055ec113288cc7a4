"""Alerts as they are written in a file: rules by kind with their options, and where to send them.

Kinds are ours and those other packages register under `langchain_cluster.alert_rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from langchain_cluster.config.secrets import refuse_secrets, variable
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict, relocated

_DURATION: TypeAdapter[float] = TypeAdapter(Seconds)
_SECONDS = ("for_seconds", "resolve_after", "repeat", "quiet")


def _kind(given: Any) -> Any:
    """A name stands for a mapping with nothing but a kind."""
    return {"kind": given} if isinstance(given, str) else given


class RuleConfig(Strict):
    """A kind of rule, and whatever options that kind has, beside it; `for` is short for `for_seconds`."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        description="endpoint_down, pool_below, error_budget_burn, retry_budget_spent, cache_down, "
        "discovery_stale, budget_spent, or another package's"
    )

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        refuse_secrets(given)
        return given

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.make()
        return self

    def make(self) -> Any:
        """A new rule.

        Raises:
            ConfigError: no such kind, an option it does not have, or a value it does not take.
        """
        from langchain_cluster.telemetry.alerts.kinds import make_rule

        options: dict[str, Any] = {}
        for written, value in (self.model_extra or {}).items():
            name = "for_seconds" if written == "for" else written
            options[name] = _seconds(value, written) if name in _SECONDS else value
        return make_rule(self.kind, options)


def _seconds(given: Any, key: str) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return _DURATION.validate_python(given)
    except ValidationError as error:
        told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(told, key=key) from None


class LogSinkConfig(Strict):
    """Python's logging."""

    kind: Literal["log"] = "log"
    logger: str = "langchain_cluster.alerts"

    def make(self) -> Any:
        """A new sink."""
        from langchain_cluster.telemetry.alerts import LogSink

        return LogSink(self.logger)


class WebhookConfig(Strict):
    """A POST of JSON; the address comes from a variable, as there is often a token in it."""

    kind: Literal["webhook"] = "webhook"
    url_env: str = Field(description="name of the environment variable with the address, https://...")
    headers_env: dict[str, str] = Field(default_factory=dict, description="header -> name of a variable")
    timeout: Seconds = 5.0
    retries: int = Field(3, ge=0, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _no_address(cls, given: Any) -> Any:
        if isinstance(given, dict):
            if "url" in given:
                raise ConfigError("give the name of the variable that holds it, as url_env", key="url")
            headers = given.get("headers_env")
            if isinstance(headers, dict):
                refuse_secrets({f"headers_env.{name}_env": held for name, held in headers.items()})
            refuse_secrets({key: value for key, value in given.items() if key != "headers_env"})
        return given

    def make(self) -> Any:
        """A new sink; here variables are read. Raises ConfigError when one is not set."""
        from langchain_cluster.telemetry.alerts import WebhookSink

        variable(self.url_env, "url_env")
        for name, held in self.headers_env.items():
            variable(held, f"headers_env.{name}")
        return WebhookSink(
            url_env=self.url_env, headers_env=self.headers_env, timeout=self.timeout, retries=self.retries
        )


Sink = Annotated[LogSinkConfig | WebhookConfig, Field(discriminator="kind")]


class AlertsConfig(Strict):
    """What is watched, and who is told: by default everything there is a rule for, and the log."""

    rules: tuple[Annotated[RuleConfig, BeforeValidator(_kind)], ...] | None = None
    sinks: tuple[Annotated[Sink, BeforeValidator(_kind)], ...] = (LogSinkConfig(),)
    every: Seconds = 1.0

    def make(self) -> Any:
        """New `Alerts`. Raises ConfigError when a variable is not set."""
        from langchain_cluster.telemetry.alerts import Alerts

        sinks = []
        for number, sink in enumerate(self.sinks):
            try:
                sinks.append(sink.make())
            except ConfigError as error:
                raise relocated(error, under=f"sinks.{number}") from None
        rules = None if self.rules is None else [rule.make() for rule in self.rules]
        return Alerts(rules, sinks, every=self.every)
