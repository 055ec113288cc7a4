"""Where alerts go: to the log, or to an address. Any callable will do as well."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.alert import Alert, Level
from langchain_cluster.telemetry.alerts.rule import seconds

_LEVELS = {
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.CRITICAL: logging.CRITICAL,
}
WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds between two tries, growing, with jitter


class LogSink:
    """To Python's logging, at the alert's own level; a recovery at INFO.

    Args:
        logger: its name.
    """

    def __init__(self, logger: str = "langchain_cluster.alerts") -> None:
        self._logger = logging.getLogger(logger)

    def __call__(self, alert: Alert) -> None:
        """Log one line."""
        level = logging.INFO if alert.state == "resolved" else _LEVELS[alert.level]
        self._logger.log(level, "%s", alert, extra={"event": described(alert)})

    def __repr__(self) -> str:
        return f"<LogSink {self._logger.name}>"


class WebhookSink:
    """To an address, as JSON by POST. Its `text` is what Slack, Mattermost and their like show.

    No redirect is followed. A 429, a 5xx and a connection that fails are tried again.

    Args:
        url: where to. There is often a token in it: it is never shown.
        url_env: the environment variable that holds it, instead.
        headers_env: header -> the environment variable that holds its value.
        timeout: seconds one try may take, > 0.
        retries: how many more tries, >= 0.

    Raises:
        ConfigError: neither or both of `url` and `url_env`, a variable that is not set, no http address.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        url_env: str | None = None,
        headers_env: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        retries: int = 3,
    ) -> None:
        if (url is None) is (url_env is None):
            raise ConfigError("give one of url and url_env", key="url_env")
        self._url = url if url is not None else _variable(url_env or "", "url_env")
        if not self._url.startswith(("http://", "https://")):
            key = "url" if url is not None else "url_env"
            raise ConfigError("is no address that begins with http:// or https:// (not shown)", key=key)
        self._headers = {
            name: _variable(variable, f"headers_env.{name}") for name, variable in (headers_env or {}).items()
        }
        self.timeout = seconds(timeout, "timeout", above=True)
        if type(retries) is not int or retries < 0:
            raise ConfigError(f"{retries!r} is not an integer >= 0", key="retries")
        self.retries = retries
        self._closing = Event()

    def __call__(self, alert: Alert) -> None:
        """Send it, and try again where that may help. Raises what the last try did."""
        # Here, not above: httpx brings its command line along, which nobody needs who sends nothing.
        import httpx
        import tenacity

        def passes(error: BaseException) -> bool:
            if isinstance(error, httpx.HTTPStatusError):
                return error.response.status_code == 429 or error.response.status_code >= 500
            return isinstance(error, httpx.TransportError)

        def send() -> None:
            with httpx.Client(timeout=self.timeout, follow_redirects=False) as client:
                client.post(self._url, json=body(alert), headers=self._headers).raise_for_status()

        tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes),
            stop=tenacity.stop_after_attempt(self.retries + 1) | tenacity.stop_when_event_set(self._closing),
            wait=tenacity.wait_random_exponential(WAIT, LONGEST_WAIT),
            sleep=tenacity.sleep_using_event(self._closing),
            reraise=True,
        )(send)

    def close(self) -> None:
        """Try no more: whoever waits between two tries gives up."""
        self._closing.set()

    def __repr__(self) -> str:
        return f"<WebhookSink, {self.timeout:g} s, {self.retries} retries>"


def described(alert: Alert) -> dict[str, Any]:
    """An alert as plain data."""
    return {
        "rule": alert.rule,
        "level": alert.level.value,
        "subject": alert.subject,
        "state": alert.state,
        "seconds": round(alert.at - alert.since, 3),
    }


def body(alert: Alert) -> dict[str, Any]:
    """What a webhook is sent; `seconds` is how long it has lasted."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"text": f"langchain-cluster: {alert}", **described(alert), "time": now}


def _variable(name: str, key: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError("the environment variable named here is not set, or empty", key=key)
    return value
