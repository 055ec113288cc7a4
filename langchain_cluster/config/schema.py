"""What a config file may say: every key, its default and its bounds. Plain data, which builds nothing."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from langchain_cluster.config.alerts import AlertsConfig
from langchain_cluster.config.balancer import BalancerConfig
from langchain_cluster.config.cache import CacheConfig
from langchain_cluster.config.discovery import FactoryConfig, SourceConfig
from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.health import HealthConfig, named
from langchain_cluster.config.leadership import LeadershipConfig
from langchain_cluster.config.limits import LimitsConfig
from langchain_cluster.config.policy import PolicyConfig
from langchain_cluster.config.semantic import SemanticConfig
from langchain_cluster.config.sharing import SharingConfig
from langchain_cluster.config.telemetry import TelemetryConfig
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.budget import Budget
from langchain_cluster.model.policy import (
    BreakerPolicy,
    ConcurrencyPolicy,
    OutlierPolicy,
    QueuePolicy,
    Quota,
    SlowStartPolicy,
    ThrottlePolicy,
)
from langchain_cluster.model.stability import StabilityPolicy
from langchain_cluster.model.strict import Seconds, Strict


def _kind(given: Any) -> Any:
    """A name stands for a mapping with nothing but a kind."""
    return {"kind": given} if isinstance(given, str) else given


def _several(given: Any) -> Any:
    """One stands for a list of one."""
    return [given] if isinstance(given, dict | SourceConfig) else given


class ClusterConfig(Strict):
    """A whole cluster. Only `endpoints` is required, or `discovery`."""

    _file: str | None = PrivateAttr(None)  # where it was read from, for errors that show later

    name: str | None = Field(None, description="for tables and traces")
    endpoints: tuple[EndpointConfig, ...] = ()
    discovery: Annotated[tuple[SourceConfig, ...], BeforeValidator(_several)] = Field(
        (), description="sources of further endpoints, in the order of precedence"
    )
    factory: FactoryConfig | None = Field(None, description="makes the models of endpoints that are found")
    stability: StabilityPolicy | None = StabilityPolicy()
    balancer: Annotated[BalancerConfig, BeforeValidator(_kind)] = BalancerConfig()
    breaker: BreakerPolicy | None = BreakerPolicy()
    outlier: OutlierPolicy | None = None
    slow_start: SlowStartPolicy | None = None
    concurrency: ConcurrencyPolicy | None = None
    quotas: dict[str, Quota] = Field(
        default_factory=dict, description="quota group -> what its endpoints may be asked together"
    )
    throttle: ThrottlePolicy | None = None
    queue: QueuePolicy | None = QueuePolicy()
    budgets: tuple[Budget, ...] = Field((), description="what calls may cost, in USD")
    health: Annotated[HealthConfig | None, BeforeValidator(named)] = None
    leadership: Annotated[LeadershipConfig | None, BeforeValidator(_kind)] = None
    policy: PolicyConfig = PolicyConfig()
    agents: dict[str, PolicyConfig] = Field(
        default_factory=dict, description="agent name -> what differs from `policy` for it"
    )
    cache: CacheConfig | None = None
    semantic_cache: SemanticConfig | None = None
    sharing: SharingConfig | None = None
    limits: LimitsConfig | None = Field(
        None, description="where limits per minute are counted for all processes"
    )
    telemetry: TelemetryConfig | None = None
    alerts: AlertsConfig | None = None
    log: bool = Field(False, strict=True, description="whether state changes are logged")
    drain_timeout: Seconds = 10.0

    @model_validator(mode="before")
    @classmethod
    def _agents_start_from_the_policy(cls, given: Any) -> Any:
        """Merged before validation: an agent's own time is judged beside the rest of its policy."""
        if not isinstance(given, dict) or not isinstance(given.get("agents"), dict):
            return given
        base = _written(given.get("policy", {}))
        if base is None:
            return given  # it is told of at `policy`
        agents = {}
        for agent, own in given["agents"].items():
            written = _written(own)
            agents[agent] = own if written is None else base | written
        return given | {"agents": agents}

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.endpoints and not self.discovery:
            empty = "the list is empty: give at least one endpoint, with an id and a model, or a discovery"
            told = empty if "endpoints" in self.model_fields_set else "is missing"
            raise ConfigError(told, key="endpoints")
        return self

    @field_validator("endpoints")
    @classmethod
    def _one_of_each(cls, endpoints: tuple[EndpointConfig, ...]) -> tuple[EndpointConfig, ...]:
        first: dict[str, int] = {}
        for number, endpoint in enumerate(endpoints):
            if first.setdefault(endpoint.id, number) != number:
                raise ConfigError(
                    f"{endpoint.id!r} is the id of endpoints.{first[endpoint.id]} too: ids are unique",
                    key=f"{number}.id",
                )
        return endpoints


def _written(policy: Any) -> dict[str, Any] | None:
    """What a policy says explicitly; None if it is no policy."""
    if isinstance(policy, PolicyConfig):
        return {name: getattr(policy, name) for name in policy.model_fields_set}
    return policy if isinstance(policy, dict) else None


def json_schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors and checks in other languages."""
    schema = ClusterConfig.model_json_schema()
    schema["anyOf"] = [{"required": ["endpoints"]}, {"required": ["discovery"]}]
    examples = {"balancer": "peak_ewma", "cache": "memory", "health": "vllm", "leadership": "local"}
    for key, example in examples.items():
        _or_name(schema["properties"][key], example)
    parts = schema["$defs"]
    several = schema["properties"]["discovery"]
    several["anyOf"] = [several["items"], {"type": "array", "items": several.pop("items")}]
    del several["type"]
    _or_name(parts["HealthConfig"]["properties"]["check"], "http")
    _or_name(parts["CombinedConfig"]["properties"]["checks"]["items"], "http")
    _or_name(parts["AlertsConfig"]["properties"]["rules"]["anyOf"][0]["items"], "endpoint_down")
    _or_name(parts["AlertsConfig"]["properties"]["sinks"]["items"], "log")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _or_name(described: dict[str, Any], example: str) -> None:
    """What is read by `_kind`: a name, beside what else may stand there."""
    given = described.pop("anyOf", None)
    if given is None:
        given = [{key: described.pop(key) for key in ("$ref", "oneOf", "allOf") if key in described}]
    described["anyOf"] = [{"type": "string", "examples": [example]}, *given]
