"""An endpoint as it is written in a file: which model, where, and how it is weighed against the others.

What the chat model itself is made of is decided in `models.py`.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from langchain_cluster.config.secrets import refuse_secrets
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Capacity, Price, Role
from langchain_cluster.model.strict import Strict

_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_OWN_KEYS = {
    "model": "model",
    "model_name": "model",
    "model_provider": "model",
    "base_url": "url",
    "openai_api_base": "url",
    "anthropic_api_url": "url",
}


class CapacityConfig(Strict):
    """What an endpoint can bear at most; null means unknown or unbounded."""

    max_connections: int | None = Field(None, ge=1, strict=True, description="calls at once")
    max_rpm: int | None = Field(None, ge=1, strict=True, description="calls a minute")
    max_tpm: int | None = Field(None, ge=1, strict=True, description="tokens a minute")
    max_memory_mb: float | None = Field(None, gt=0, strict=True, allow_inf_nan=False, description="MiB")

    def capacity(self) -> Capacity:
        """The value the pool knows."""
        return Capacity(**self.model_dump())


class PriceConfig(Strict):
    """USD per million tokens; `cached_input` falls back to `input`."""

    input: float = Field(0.0, ge=0, strict=True, allow_inf_nan=False)
    output: float = Field(0.0, ge=0, strict=True, allow_inf_nan=False)
    cached_input: float | None = Field(None, ge=0, strict=True, allow_inf_nan=False)

    def price(self) -> Price:
        """The value the pool knows."""
        return Price(**self.model_dump())


class EndpointConfig(Strict):
    """One thing that can answer."""

    id: str = Field(description="unique; its name in traces, errors and tables")
    model: str = Field(description="provider:model-name, such as openai:gpt-4o-mini")
    url: str | None = Field(None, description="where it is, if not where its provider's library looks")
    base_url: str | None = Field(None, description="another spelling of url")
    api_key_env: str | None = Field(None, description="name of the environment variable with the API key")
    weight: float = Field(1.0, ge=0, strict=True, allow_inf_nan=False, description="share; 0: never picked")
    zone: str | None = None
    tier: str = "default"
    roles: frozenset[Role] = Field(frozenset({Role.LLM}), min_length=1)
    tags: frozenset[str] = frozenset()
    metadata: dict[str, str] = Field(default_factory=dict)
    capacity: CapacityConfig = CapacityConfig()
    price: PriceConfig | None = None
    priority: int = Field(0, ge=0, strict=True, description="0 is asked first")
    quota_group: str | None = None
    identity: str | None = None
    context_window: int | None = Field(None, ge=1, strict=True, description="tokens")
    capabilities: frozenset[str] | None = None
    params: dict[str, Any] = Field(default_factory=dict, description="further arguments of the chat model")

    @property
    def address(self) -> str | None:
        """Where it is, whichever way it was spelt."""
        return self.url or self.base_url

    @property
    def provider(self) -> str:
        """The part of `model` before the colon."""
        return self.model.partition(":")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the colon."""
        return self.model.partition(":")[2]

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        if isinstance(given, dict):
            own = {key: value for key, value in given.items() if key not in ("params", "metadata")}
            refuse_secrets(
                {key: value for key, value in own.items() if value is not None}, instead="api_key_env"
            )
            if given.get("url") is not None and given.get("base_url") is not None:
                raise ConfigError("is another spelling of url: give one of the two", key="base_url")
        return given

    @field_validator("id", "tier")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is an empty text")
        return text

    @field_validator("model")
    @classmethod
    def _names_its_provider(cls, model: str) -> str:
        provider, colon, name = model.partition(":")
        if not (provider.strip() and colon and name.strip()):
            raise ValueError(f"{model!r} is not provider:model-name, such as 'openai:gpt-4o-mini'")
        return model

    @field_validator("url", "base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("has a user or a password in it: secrets come from api_key_env")
        if _URL.fullmatch(url) is None:
            raise ValueError(f"{url!r} is not an address such as 'http://10.0.0.1:8000/v1'")
        return url

    @field_validator("tags", "capabilities", "roles", mode="before")
    @classmethod
    def _one_label_is_a_list_of_one(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("metadata", "params", mode="before")
    @classmethod
    def _no_secrets_below(cls, given: Any) -> Any:
        refuse_secrets(given)
        return given

    @field_validator("params")
    @classmethod
    def _not_what_has_a_key_of_its_own(cls, params: dict[str, Any]) -> dict[str, Any]:
        for name in params:
            if name in _OWN_KEYS:
                raise ConfigError(f"has a key of its own, beside params: {_OWN_KEYS[name]}", key=name)
            if name == "max_retries":
                raise ConfigError("retries are the cluster's: set policy.attempts instead", key=name)
            if name.removesuffix("_env") in ("api_key", "openai_api_key", "anthropic_api_key"):
                raise ConfigError("has a key of its own, beside params: api_key_env", key=name)
        return params
