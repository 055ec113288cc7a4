"""An admin app as a client sees it: reads and writes by HTTP, and what goes wrong as one sentence."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from langchain_cluster.cli.screen import one_line
from langchain_cluster.errors import ClusterError, ConfigError


def is_url(target: str) -> bool:
    """Whether it is an address, and no file."""
    return target.startswith(("http://", "https://"))


class Remote:
    """The admin app at `url`.

    Args:
        token_env: the variable with its token; unset, it is asked without one.
        timeout: seconds per request.

    Raises:
        ConfigError: the address has a secret in it, or no host.
    """

    def __init__(self, url: str, *, token_env: str, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.username or parts.password or parts.query:
            raise ConfigError(f"give an address alone, and the token in {token_env}", key="URL")
        token = os.environ.get(token_env, "").strip()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout)

    def get(self, path: str) -> Any:
        """What it answers. Raises ClusterError when it does not, or refuses."""
        return self._ask("GET", path)

    def act(self, id: str, action: str, **given: Any) -> Any:
        """Do something to an endpoint. Raises ClusterError when it is refused."""
        return self._ask("POST", f"/endpoints/{quote(id, safe='')}/{action}", given)

    def post(self, path: str, given: dict[str, Any]) -> Any:
        """Have something done to the whole cluster. Raises ClusterError when it is refused."""
        return self._ask("POST", path, given)

    def _ask(self, method: str, path: str, given: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=given)
        except httpx.TimeoutException:
            raise ClusterError(f"{self._client.base_url} does not answer in time") from None
        except httpx.HTTPError as error:
            raise ClusterError(f"{self._client.base_url} cannot be reached: {one_line(error)}") from None
        try:
            told = answer.json()
        except ValueError:
            raise ClusterError(f"{self._client.base_url} is no admin app") from None
        if answer.is_error:
            why = told.get("error", "refused") if isinstance(told, dict) else "refused"
            raise ClusterError(f"{why} (HTTP {answer.status_code})")
        return told

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()
