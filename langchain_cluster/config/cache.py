"""Where answers are kept, as it is written in a file: one store, or several of them as one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache, ShardedCache
from langchain_cluster.cache.address import RedisAddress
from langchain_cluster.cache.layers import WriteMode
from langchain_cluster.cache.memory import EvictionPolicy
from langchain_cluster.cache.redis import LEASE, PREFIX
from langchain_cluster.config.secrets import refuse_secrets, variable
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict, relocated
from langchain_cluster.ports import CacheStore


class MemoryConfig(Strict):
    """In the process."""

    kind: Literal["memory"] = "memory"
    max_entries: int | None = Field(10_000, ge=1, strict=True)
    max_bytes: int | None = Field(None, ge=1, strict=True)
    policy: EvictionPolicy = "sieve"
    ttl: Seconds | None = None
    weak: bool = False

    def make(self) -> CacheStore:
        """A new one."""
        return MemoryCache(self.max_entries, self.max_bytes, self.policy, self.ttl, weak=self.weak)


class RedisConfig(Strict):
    """In a Redis or Valkey that processes share."""

    kind: Literal["redis"] = "redis"
    url: str | None = Field(
        None, description="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    )
    url_env: str | None = Field(None, description="instead: the name of a variable that holds the url")
    username_env: str | None = Field(None, description="name of the variable with the user")
    password_env: str | None = Field(None, description="name of the variable with the password")
    secret_env: str | None = Field(
        None, description="name of the variable with the secret of a seal on each value"
    )
    prefix: str = PREFIX
    ttl: Seconds | None = None
    lease: Seconds | None = LEASE
    connect_timeout: Seconds = 0.3
    timeout: Seconds = 0.3

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        if isinstance(given, dict):
            refuse_secrets(given)
            url = given.get("url")
            if (url is None) == (given.get("url_env") is None):
                raise ConfigError("give either url or url_env", key="url")
            if url is not None:
                try:
                    address = RedisAddress.parse(url)
                except ConfigError as error:
                    raise ConfigError(error.problem, key="url", valid=error.valid) from None
                if address.password is not None:
                    raise ConfigError(
                        "a secret does not belong in a config: give the name of a variable as password_env",
                        key="url",
                    )
        return given

    def make(self) -> CacheStore:
        """A new one; here variables are read, and nothing connects yet.

        Raises:
            ConfigError: a variable is not set or holds no url, or redis is not installed.
        """
        url = self.url or variable(self.url_env or "", "url_env")
        try:
            return RedisCache.from_url(
                url,
                self.prefix,
                self.ttl,
                username_env=self.username_env,
                password_env=self.password_env,
                secret_env=self.secret_env,
                connect_timeout=self.connect_timeout,
                timeout=self.timeout,
                lease=self.lease,
            )
        except ImportError as missing:
            raise ConfigError(str(missing), key="kind") from None
        except ConfigError as error:
            if error.key == "cache.url":  # read from the variable
                raise ConfigError(error.problem, key="url_env", valid=error.valid) from None
            raise


class LayeredConfig(Strict):
    """Several, the nearest first."""

    kind: Literal["layered"] = "layered"
    layers: tuple[CacheConfig, ...] = Field(min_length=1)
    write: WriteMode = "through"
    max_pending: int = Field(1_000, ge=1, strict=True)
    fallback_ttl: Seconds = 5.0
    negative_ttl: Seconds | None = None

    def make(self) -> CacheStore:
        """New ones."""
        return LayeredCache(
            _each(self.layers, "layers"),
            self.write,
            max_pending=self.max_pending,
            fallback_ttl=self.fallback_ttl,
            negative_ttl=self.negative_ttl,
        )


class ShardedConfig(Strict):
    """Several that divide the keys among them, by name."""

    kind: Literal["sharded"] = "sharded"
    shards: dict[str, CacheConfig] = Field(min_length=1)

    def make(self) -> CacheStore:
        """New ones."""
        made = _each(tuple(self.shards.values()), "shards", tuple(self.shards))
        return ShardedCache(dict(zip(self.shards, made, strict=True)))


def _kind(given: Any) -> Any:
    """A name stands for a mapping with nothing but a kind; a mapping without one is of a cache in memory."""
    if isinstance(given, str):
        return {"kind": given}
    return {"kind": "memory"} | given if isinstance(given, dict) else given


def _each(configs: tuple[Any, ...], key: str, names: tuple[str, ...] | None = None) -> list[CacheStore]:
    made = []
    for number, config in enumerate(configs):
        try:
            made.append(config.make())
        except ConfigError as error:
            raise relocated(error, under=f"{key}.{names[number] if names else number}", file=None) from None
    return made


CacheConfig = Annotated[
    MemoryConfig | RedisConfig | LayeredConfig | ShardedConfig,
    Field(discriminator="kind"),
    BeforeValidator(_kind),
]
LayeredConfig.model_rebuild()
ShardedConfig.model_rebuild()
