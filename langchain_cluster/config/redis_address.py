"""The address of a Redis as it is written in a file: by the name of a variable, never itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from langchain_cluster.config.secrets import refuse_secrets, variable
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Strict
from langchain_cluster.sharing.bounds import is_namespace

T = TypeVar("T")


class RedisAddress(Strict):
    """Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    kind: Literal["redis"] = "redis"
    url_env: str = Field(description="name of the environment variable with the address, redis://...")

    @model_validator(mode="before")
    @classmethod
    def _no_address(cls, given: Any) -> Any:
        if isinstance(given, dict) and "url" in given:
            raise ConfigError("give the name of the variable that holds it, as url_env", key="url")
        refuse_secrets(given)
        return given

    def connected(self, connect: Callable[[str], T]) -> T:
        """What `connect` makes of the address; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        url = variable(self.url_env, "url_env")
        try:
            return connect(url)
        except ConfigError as error:
            raise ConfigError(str(error).removeprefix(f"{error.key}: "), key="url_env") from None
        except ImportError as missing:
            raise ConfigError(str(missing), key="kind") from None


class SharedRedis(RedisAddress):
    """One that several fleets may share, each under a name of its own."""

    namespace: str = Field("langchain-cluster", description="of the fleet")

    @field_validator("namespace")
    @classmethod
    def _is_a_name(cls, namespace: str) -> str:
        if not is_namespace(namespace):
            raise ValueError(f"{namespace!r} is not a name: a text without braces")
        return namespace
