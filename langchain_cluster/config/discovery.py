"""Discovery as it is written in a file: sources by kind, and what makes models of what they find."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from langchain_cluster.config.factory import EndpointFactory
from langchain_cluster.config.secrets import refuse_secrets
from langchain_cluster.discovery.kinds import make_discovery
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict
from langchain_cluster.ports import Discovery

_DURATIONS = ("wait", "timeout", "poll", "min_ttl", "max_ttl")  # take '5s' too
_DURATION: TypeAdapter[float] = TypeAdapter(Seconds)


class SourceConfig(Strict):
    """A kind of source, and whatever options that kind has, beside it."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(description="file, dns, consul, etcd, or another package's")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        refuse_secrets(given)
        return given

    @model_validator(mode="after")
    def _durations(self) -> Self:
        self._options()
        return self

    def make(self) -> Discovery:
        """A new source.

        Raises:
            ConfigError: no such kind, an option it does not have, a value it does not take, or a library
                that is not installed.
        """
        try:
            source = make_discovery(self.kind, self._options())
        except ImportError as missing:
            raise ConfigError(str(missing), key="kind") from None
        if not isinstance(source, Discovery):
            raise ConfigError(f"{self.kind} makes {type(source).__name__}, which is no Discovery", key="kind")
        return source

    def _options(self) -> dict[str, Any]:
        options = dict(self.model_extra or {})
        for name in _DURATIONS:
            if isinstance(options.get(name), str):
                try:
                    options[name] = _DURATION.validate_python(options[name])
                except ValidationError as error:
                    told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
                    raise ConfigError(told, key=name) from None
        return options


class FactoryConfig(Strict):
    """How a discovered endpoint becomes a chat model."""

    model: str = Field("openai:{model}", description="template of provider:model-name")
    base_url: str | None = Field(None, description="template of the address; the endpoint's own if null")
    api_key_env: str | None = Field(None, description="name of the environment variable with the API key")
    allow: tuple[str, ...] | None = Field(
        None, description="hosts an endpoint may have; required with a credential"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="further arguments of the chat model")

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        refuse_secrets(given, instead="api_key_env")
        return given

    def make(self) -> EndpointFactory:
        """A new factory; here the variable is read.

        Raises:
            ConfigError: a template that cannot be, a credential for anybody, a variable that is not set.
        """
        try:
            return EndpointFactory(
                self.model, self.base_url, self.api_key_env, self.allow, params=self.params
            )
        except ConfigError as error:
            told = str(error).removeprefix(f"{error.key}: ")
            raise ConfigError(told, key=(error.key or "").removeprefix("factory.") or None) from None
