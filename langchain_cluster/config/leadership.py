"""Who leads a fleet, as it is written in a file: for work that one process does for all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from langchain_cluster.config.secrets import refuse_secrets, variable
from langchain_cluster.errors import ConfigError
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


class RedisConfig(Strict):
    """A lease in Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    kind: Literal["redis"] = "redis"
    url_env: str = Field(description="name of the environment variable with the address, redis://...")
    name: str = Field("langchain-cluster", description="of the fleet")
    lease: Seconds = 30.0
    timeout: Seconds = 0.5

    @model_validator(mode="before")
    @classmethod
    def _no_address(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url" in given:
            raise ConfigError("give the name of the variable that holds it, as url_env", key="url")
        refuse_secrets(given)
        return given

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
        url = variable(self.url_env, "url_env")
        try:
            return RedisLeadership(url, name=self.name, lease=self.lease, timeout=self.timeout)
        except ConfigError as error:
            raise ConfigError(str(error).removeprefix(f"{error.key}: "), key="url_env") from None
        except ImportError as missing:
            raise ConfigError(str(missing), key="kind") from None


LeadershipConfig = Annotated[LocalConfig | RedisConfig, Field(discriminator="kind")]
