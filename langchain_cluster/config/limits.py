"""Where processes count their limits together, as it is written in a file."""

from __future__ import annotations

from pydantic import Field, field_validator

from langchain_cluster.config.redis_address import RedisAddress
from langchain_cluster.model.strict import Seconds
from langchain_cluster.ports import LimitStore
from langchain_cluster.sharing.bounds import is_namespace
from langchain_cluster.sharing.limits import SharedLimits


class LimitsConfig(RedisAddress):
    """Through Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    namespace: str = Field("langchain-cluster", description="of the fleet")
    timeout: Seconds = 0.3

    @field_validator("namespace")
    @classmethod
    def _is_a_name(cls, namespace: str) -> str:
        if not is_namespace(namespace):
            raise ValueError(f"{namespace!r} is not a name: a text without braces")
        return namespace

    def make(self) -> LimitStore:
        """A new one; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        return self.connected(
            lambda url: SharedLimits.from_url(url, namespace=self.namespace, timeout=self.timeout)
        )
