"""A simulation as it is written in a file: who is there, what goes wrong when, and who balances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from langchain_cluster.balancer.registry import BALANCERS
from langchain_cluster.config.balancer import BalancerConfig
from langchain_cluster.config.load import load_as
from langchain_cluster.config.policy import PolicyConfig
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.policy import BreakerPolicy, OutlierPolicy, SlowStartPolicy
from langchain_cluster.model.strict import Strict
from langchain_cluster.testing.simulation.actors import (
    Arrivals,
    Fails,
    Hangs,
    SessionsConfig,
    SimulatedEndpoint,
    Slows,
    Throttles,
)
from langchain_cluster.testing.simulation.result import Simulation
from langchain_cluster.testing.simulation.run import simulate

SHIPPED = files(__package__) / "scenarios"


def _balancers(given: Any) -> Any:
    if given == "all":
        given = list(BALANCERS)
    if isinstance(given, str | dict):
        given = [given]
    if isinstance(given, list | tuple):
        return [{"kind": each} if isinstance(each, str) else each for each in given]
    return given


_BALANCERS_AS_WRITTEN = {
    "anyOf": [
        {"const": "all"},
        {"type": "array", "items": {"anyOf": [{"enum": list(BALANCERS)}, {"type": "object"}]}, "minItems": 1},
    ],
    "description": "'all', or a list of names or of mappings of a kind and its options",
}
Balancers = Annotated[
    tuple[BalancerConfig, ...], BeforeValidator(_balancers), WithJsonSchema(_BALANCERS_AS_WRITTEN)
]


class Scenario(Strict):
    """A simulation. Only `endpoints` is required; breaker, outlier, slow_start and policy are a cluster's."""

    name: str | None = None
    about: str | None = Field(None, description="one sentence, for tables and pictures")
    endpoints: tuple[SimulatedEndpoint, ...] = Field(min_length=1)
    balancers: Balancers = (BalancerConfig(),)
    arrivals: Arrivals = Arrivals(rate=50.0)
    calls: int = Field(10_000, ge=1, strict=True)
    seed: int = Field(0, strict=True)
    faults: tuple[Annotated[Fails | Hangs | Throttles | Slows, Field(discriminator="kind")], ...] = ()
    sessions: SessionsConfig | None = None
    breaker: BreakerPolicy | None = BreakerPolicy()
    outlier: OutlierPolicy | None = None
    slow_start: SlowStartPolicy | None = None
    policy: PolicyConfig = PolicyConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.balancers:
            raise ConfigError("the list is empty: name at least one, or write: all", key="balancers")
        seen: set[str] = set()
        for number, group in enumerate(self.endpoints):
            for id in group.ids:
                if id in seen:
                    raise ConfigError(f"two endpoints have the id {id!r}", key=f"endpoints.{number}.id")
                seen.add(id)
        known = list(dict.fromkeys([*(group.id for group in self.endpoints), *seen]))
        for number, fault in enumerate(self.faults):
            if fault.endpoint not in known:
                key = f"faults.{number}.endpoint"
                unknown = f"no endpoint {fault.endpoint!r} in the scenario"
                raise ConfigError(unknown, key=key, valid=known, got=fault.endpoint)
            if fault.kind == "hangs" and self.policy.timeout is None and self.policy.attempt_timeout is None:
                raise ConfigError("is needed where an endpoint hangs", key="policy.timeout")
        if all(group.joins is not None for group in self.endpoints):
            raise ConfigError("all of them join later: nobody is there at the start", key="endpoints")
        return self

    def run(
        self, balancer: BalancerConfig | None = None, *, progress: Callable[[int], Any] | None = None
    ) -> Simulation:
        """Simulate it with one of its balancers, the first if None."""
        groups = self.endpoints
        by_id = {id: group for group in groups for id in group.ids}
        return simulate(
            [e for group in groups if group.joins is None for e in group.endpoints()],
            balancer=(balancer or self.balancers[0]).make(),
            service={id: group.service for id, group in by_id.items()},
            slots={id: group.slots for id, group in by_id.items() if group.slots is not None},
            arrivals=self.arrivals.arrivals(),
            calls=self.calls,
            failing=[fault.mishap(id) for fault in self.faults for id in self.ids_of(fault.endpoint)],
            changes=[change for group in groups for change in group.changes()],
            sessions=None if self.sessions is None else self.sessions.sessions(),
            policy=self.policy.policy(),
            seed=self.seed,
            progress=progress,
            breaker=self.breaker,
            outlier=self.outlier,
            slow_start=self.slow_start,
        )

    def ids_of(self, name: str) -> Sequence[str]:
        """The endpoints of that name: all copies, or the one."""
        return next((group.ids for group in self.endpoints if group.id == name), [name])

    def but(self, **overrides: Any) -> Scenario:
        """This scenario with some values changed, validated again."""
        return Scenario(**{name: getattr(self, name) for name in self.model_fields_set} | overrides)

    @classmethod
    def load(cls, source: str | Path) -> Scenario:
        """Read one: a path (.yaml, .yml, .toml, .json), or the name of one that is shipped.

        Raises:
            ConfigError: with the file, the key, and what would be valid.
        """
        path = Path(source)
        if path.suffix or path.exists():
            return load_as(cls, path, needs="endpoints")
        shipped = scenarios()
        if str(source) not in shipped:
            raise ConfigError(
                f"no scenario {str(source)!r} is shipped, and there is no such file",
                valid=shipped,
                got=str(source),
            )
        return load_as(cls, Path(str(SHIPPED / f"{source}.yaml")), needs="endpoints")


def scenarios() -> list[str]:
    """The names of the shipped scenarios."""
    return sorted(
        each.name.removesuffix(".yaml") for each in SHIPPED.iterdir() if each.name.endswith(".yaml")
    )


def json_schema() -> dict[str, Any]:
    """The JSON schema of a scenario file."""
    schema = Scenario.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
