"""Who leads a fleet, as it is written in a file: for work that one process does for all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from langchain_cluster.config.redis_address import RedisAddress
from langchain_cluster.leadership.local import LocalLeadership
from langchain_cluster.leadership.redis import RedisLeadership
from langchain_cluster.model.strict import Seconds, Strict
from langchain_cluster.ports import Leadership


class LocalConfig(Strict):
    """Every process does it for itself."""

    kind: Literal["local"] = "local"

    def make(self) -> Leadership:
        """A new one."""
        return LocalLeadership()


class RedisConfig(RedisAddress):
    """A lease in Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    name: str = Field("langchain-cluster", description="of the fleet")
    lease: Seconds = 30.0
    timeout: Seconds = 0.5

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.strip() or set(name) & set("{}"):
            raise ValueError(f"{name!r} is not a name: a text without braces")
        return name

    def make(self) -> Leadership:
        """A new one; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        return self.connected(
            lambda url: RedisLeadership(url, name=self.name, lease=self.lease, timeout=self.timeout)
        )


LeadershipConfig = Annotated[LocalConfig | RedisConfig, Field(discriminator="kind")]
