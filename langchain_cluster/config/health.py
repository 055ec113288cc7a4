"""Health checks as they are written in a file: a name, a mapping, or several of them combined.

Kinds are ours and those other packages register under `langchain_cluster.health_checks`. The checks are
imported when a file has some: they bring httpx along.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from langchain_cluster.config.secrets import refuse_secrets, variable, with_variables
from langchain_cluster.errors import ConfigError, PluginError
from langchain_cluster.kinds import factory, made, options_of, refuse_unknown
from langchain_cluster.model.health import HealthPolicy
from langchain_cluster.model.strict import Seconds, Strict, relocated
from langchain_cluster.ports import HealthCheck, Leadership

COMBINED = ("all", "any", "quorum")
_OBJECTS = ("leader", "prober")  # options that only a program can give
_DURATION: TypeAdapter[float] = TypeAdapter(Seconds)
_NUMBERS = ("float", "float | None", float, float | None)  # annotations of options that take '5s' too
_Read = Callable[[str, str], str]  # a variable's name and its key -> its value


def _kind(given: Any) -> Any:
    """A name stands for a mapping with nothing but a kind."""
    return {"kind": given} if isinstance(given, str) else given


class CheckConfig(Strict):
    """A kind of check, and whatever options that kind has, beside it."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        description="http, tcp, model, vllm, sglang, llama_cpp, ollama, tgi, or another package's",
        json_schema_extra={"not": {"enum": list(COMBINED)}},
    )

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        refuse_secrets(given)
        return given

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self._make(None, lambda name, key: "-")
        return self

    def make(self, leader: Leadership | None = None) -> HealthCheck:
        """A new check; here variables are read.

        Raises:
            ConfigError: no such kind, an option it does not have, a value it does not take, or a
                variable that is not set.
        """
        return self._make(leader, variable)

    def _make(self, leader: Leadership | None, read: _Read) -> HealthCheck:
        from langchain_cluster.health.periodic import CHECKS, GROUP

        try:
            make = factory("health check", self.kind, CHECKS, GROUP)
        except PluginError as error:
            raise PluginError("health check", self.kind, [*error.available, *COMBINED]) from None
        takes = options_of(make)
        valid = None if takes is None else [name for name in takes if name not in _OBJECTS]
        known = {_meant(name, valid): name for name in self.options}
        refuse_unknown(self.kind, known, valid)
        options = {}
        for name, written in known.items():
            value = self.options[written]
            if name != written:
                value = read(value, written)
            options[name] = _value(value, takes[name] if takes else None, name, read)
        if leader is not None and takes is not None and "leader" in takes:
            options["leader"] = leader
        try:
            check = made(self.kind, make, options)
        except ConfigError as error:
            if error.key != "leader":
                raise
            told = str(error).removeprefix("leader: ")
            raise ConfigError(f"{told}: set leadership.lease and timeout") from None
        if not isinstance(check, HealthCheck):
            raise ConfigError(f"{self.kind} makes {check!r}, which is no HealthCheck", key="kind")
        return check


def _meant(written: str, valid: list[str] | None) -> str:
    """The option a key is for: `token_env` names the variable that holds the option `token`."""
    bare = written.removesuffix("_env")
    return bare if valid is not None and written not in valid and bare in valid else written


def _value(given: Any, option: inspect.Parameter | None, name: str, read: _Read) -> Any:
    if isinstance(given, str) and option is not None and option.annotation in _NUMBERS:
        try:
            return _DURATION.validate_python(given)
        except ValidationError as error:
            told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(told, key=name) from None
    return with_variables(given, name, read)


class CombinedConfig(Strict):
    """Several checks as one."""

    kind: Literal["all", "any", "quorum"]
    checks: tuple[Check, ...] = Field(json_schema_extra={"minItems": 1})
    need: int | None = Field(None, ge=1, strict=True, description="how many must be well, for a quorum")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if not self.checks:
            raise ConfigError("the list is empty: give at least one check", key="checks")
        if self.kind != "quorum":
            if self.need is not None:
                raise ConfigError(f"is for a quorum; {self.kind!r} says how many by itself", key="need")
        elif self.need is None:
            raise ConfigError("is missing: how many of the checks must be well", key="need")
        elif self.need > len(self.checks):
            raise ConfigError(f"{self.need} of {len(self.checks)} checks cannot be asked for", key="need")
        return self

    def make(self, leader: Leadership | None = None) -> HealthCheck:
        """A new check of new checks."""
        from langchain_cluster.health.composite import Quorum

        need = {"all": len(self.checks), "any": 1}.get(self.kind, self.need or 0)
        parts = []
        for number, check in enumerate(self.checks):
            try:
                parts.append(check.make(leader))
            except ConfigError as error:
                raise relocated(error, under=f"checks.{number}") from None
        return Quorum(need, *parts)


def _sort(given: Any) -> str:
    kind = given.get("kind") if isinstance(given, Mapping) else getattr(given, "kind", None)
    return "combined" if kind in COMBINED else "single"


Check = Annotated[
    Annotated[CheckConfig, Tag("single")] | Annotated[CombinedConfig, Tag("combined")],
    Discriminator(_sort),
    BeforeValidator(_kind),
]
CombinedConfig.model_rebuild()


class HealthConfig(HealthPolicy):
    """A `HealthPolicy` with its check as data; times in seconds or as "5s"."""

    check: Check | None = CheckConfig.model_construct(kind="http")

    def policy(self, leader: Leadership | None = None) -> HealthPolicy:
        """The policy itself, with a check that was made. `leader` is for those that want one."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if self.check is not None:
            try:
                given["check"] = self.check.make(leader)
            except ConfigError as error:
                raise relocated(error, under="check") from None
        return HealthPolicy(**given)


def named(given: Any) -> Any:
    """A name stands for a policy with that check and nothing else said."""
    if not isinstance(given, str):
        return given
    if given in COMBINED:
        raise ConfigError(
            f"{given!r} says nothing of the checks: write check: {{kind: {given}, checks: [...]}}"
        )
    return {"check": CheckConfig(kind=given)}
