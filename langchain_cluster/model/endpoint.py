"""Who can be asked: an endpoint as the user or a registry describes it. Its live state is a `Member`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from sys import float_info
from types import MappingProxyType
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.hints import NO_HINTS, Hints, hints_of

_USERINFO = re.compile(r"//[^/@\s]*@")
_SECRETS = re.compile(r"[?#].*", re.DOTALL)  # what follows may be a key
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_LOADS: Mapping[str, Load] = MappingProxyType({})


class EndpointStatus(StrEnum):
    """ONLINE takes calls; BUSY when nobody else of its level can; OFFLINE none; DRAINING ends what it has."""

    ONLINE = "online"
    OFFLINE = "offline"
    BUSY = "busy"
    DRAINING = "draining"


class EndpointState(StrEnum):
    """Everything that is known of an endpoint, as one word: may it be asked, and if not, why not?

    BUSY, WARMING and PROBING may be asked, with less or with one call; the others not.
    """

    UP = "up"
    WARMING = "warming"
    BUSY = "busy"
    PROBING = "probing"
    COOLING = "cooling"
    EJECTED = "ejected"
    OPEN = "open"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    OFFLINE = "offline"
    FORCED_OPEN = "forced_open"
    IDLE = "idle"  # of weight 0


class Role(StrEnum):
    """What an endpoint can be asked for."""

    LLM = "llm"
    EMBEDDING = "embedding"
    RETRIEVAL = "retrieval"
    CACHE = "cache"


# The default, told from the same set given by a user by its identity.
_AS_ITS_MODEL = frozenset({Role.LLM})
# What only models of that kind have.
_TELLTALE = (("embed_documents", Role.EMBEDDING), ("_get_relevant_documents", Role.RETRIEVAL))


def _role_by_model(model: Any) -> Role:
    while hasattr(type(model), "bound") or "bound" in getattr(model, "__dict__", ()):
        model = model.bound  # a binding of a model
    return next((role for name, role in _TELLTALE if hasattr(type(model), name)), Role.LLM)


def is_number(value: object, kind: type = object) -> bool:
    """Whether `value` is an int or a float (True is neither) and of `kind`."""
    return isinstance(value, int | float) and isinstance(value, kind) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    """Whether `value` is a finite number >= 0; an integer that no float can hold is none."""
    return is_number(value) and 0 <= value <= float_info.max


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _not_negative(owner: object, where: str) -> None:
    for spec in fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, spec.name)
        if value is None:
            continue
        if not _is_size(value):
            raise ConfigError(f"{value!r} is not a finite number >= 0", key=f"{where}.{spec.name}")


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an endpoint can bear at most; None means unknown or unbounded.

    `max_connections` calls at once, `max_rpm` calls and `max_tpm` tokens a minute, `max_memory_mb` MiB.
    """

    max_connections: int | None = None
    max_rpm: int | None = None
    max_tpm: int | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        _not_negative(self, "capacity")


@dataclass(frozen=True, slots=True)
class Load:
    """What an endpoint last reported of itself; None means it does not report that.

    `connections` open, `qps` calls a second, `memory_mb` MiB, `cpu_percent` and `gpu_cache_percent`
    0-100, `queued` calls that wait inside it.
    """

    connections: int | None = None
    qps: float | None = None
    memory_mb: float | None = None
    cpu_percent: float | None = None
    gpu_cache_percent: float | None = None
    queued: int | None = None

    def __post_init__(self) -> None:
        _not_negative(self, "load")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; `cached_input` falls back to `input`."""

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None

    def __post_init__(self) -> None:
        _not_negative(self, "price")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Endpoint:
    """One thing that can answer.

    Args:
        id: unique in its pool; also its name in traces, errors and tables.
        model: a LangChain chat model (or a binding of one). None in pools that only balance.
        url: where it is, for health checks and traces; userinfo never shows in a repr.
        weight: share relative to the others, >= 0; 0 means never picked.
        zone, tier: free labels; a request may prefer or demand them.
        roles: what it can be asked for; if not given, what its model does: embedding, retrieval, or
            llm for everything else.
        tags: free labels; a request may demand them.
        metadata: anything else a registry knows, text to text.
        capacity, price: see `Capacity` and `Price`.
        priority: level, 0 is asked first; a higher level only when the ones below cannot carry the load.
        quota_group: endpoints that share one provider quota cool down together on a 429.
        identity: endpoints with one identity may answer for each other from the cache. By default it
            is derived from the model's provider, name and sampling parameters.
        context_window: tokens of a prompt and its answer together, None if unknown.
        capabilities: all it can do, of "tools", "structured_output", "vision", "audio", "video", "pdf",
            "prefill"; None means unknown, which never excludes it.

    Attributes:
        hints: what the model's profile says, for what is not given.

    Raises:
        ConfigError: an empty id, a negative, infinite or NaN weight, a value of the wrong type.
    """

    id: str
    model: Any = field(default=None, repr=False)
    url: str | None = field(default=None, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    zone: str | None = field(default=None, kw_only=True)
    tier: str = field(default="default", kw_only=True)
    roles: frozenset[Role] = field(default=_AS_ITS_MODEL, kw_only=True)
    tags: frozenset[str] = field(default=frozenset(), kw_only=True)
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING, kw_only=True)
    capacity: Capacity = field(default=Capacity(), kw_only=True)
    price: Price | None = field(default=None, kw_only=True)
    priority: int = field(default=0, kw_only=True)
    quota_group: str | None = field(default=None, kw_only=True)
    identity: str | None = field(default=None, kw_only=True)
    context_window: int | None = field(default=None, kw_only=True)
    capabilities: frozenset[str] | None = field(default=None, kw_only=True)
    hints: Hints = field(default=NO_HINTS, init=False, repr=False)

    def __post_init__(self) -> None:
        if not _is_text(self.id):
            raise ConfigError(
                f"an endpoint's id is a text that is not empty, not {self.id!r}", key="endpoint.id"
            )
        where = f"endpoint {self.id!r}"
        if not _is_size(self.weight):
            raise ConfigError(f"weight {self.weight!r} is not a finite number >= 0", key=where)
        if not is_number(self.priority, int) or self.priority < 0:
            raise ConfigError(f"priority {self.priority!r} is not an integer >= 0", key=where)
        for name in ("url", "zone", "quota_group", "identity"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} {value!r} is not a text", key=where)
        if not isinstance(self.tier, str):
            raise ConfigError(f"tier {self.tier!r} is not a text", key=where)
        window = self.context_window
        if window is not None and (not is_number(window, int) or window <= 0):
            raise ConfigError(f"context_window {window!r} is not an integer > 0 (tokens)", key=where)
        settle = object.__setattr__  # the value is frozen from here on
        if self.model is not None:
            settle(self, "hints", hints_of(self.model))
        if self.roles is _AS_ITS_MODEL:
            settle(self, "roles", frozenset({_role_by_model(self.model)}))
        settle(self, "weight", float(self.weight))
        settle(
            self, "roles", frozenset(role_of(role, where) for role in labels_of(self.roles, where, "roles"))
        )
        settle(self, "tags", frozenset(labels_of(self.tags, where, "tags")))
        if self.capabilities is not None:
            settle(self, "capabilities", frozenset(labels_of(self.capabilities, where, "capabilities")))
        if not isinstance(self.capacity, Capacity):
            raise ConfigError(f"capacity {self.capacity!r} is not a Capacity", key=where)
        if self.price is not None and not isinstance(self.price, Price):
            raise ConfigError(f"price {self.price!r} is not a Price", key=where)
        if not isinstance(self.metadata, Mapping):
            raise ConfigError(f"metadata {self.metadata!r} is not a mapping", key=where)
        settle(self, "metadata", MappingProxyType(dict(self.metadata)))

    @property
    def window(self) -> int | None:
        """Tokens it is known or said to take, None if nobody says."""
        return self.hints.window if self.context_window is None else self.context_window

    def same_place(self, other: Endpoint) -> bool:
        """Whether `other` is the same thing re-described, so that its load and history still hold."""
        return self.url == other.url and self.model is other.model

    def __eq__(self, other: object) -> bool:
        if self is other:  # most of a roster, whenever it changes
            return True
        if not isinstance(other, Endpoint):
            return NotImplemented
        return self.model is other.model and all(
            getattr(self, name) == getattr(other, name) for name in _COMPARED
        )

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        parts = [repr(self.id)]
        if self.url:
            parts.append(f"url={_SECRETS.sub('?***', _USERINFO.sub('//***@', self.url))!r}")
        if self.weight != 1.0:
            parts.append(f"weight={self.weight:g}")
        parts += [f"{name}={getattr(self, name)!r}" for name in ("zone",) if getattr(self, name)]
        if self.tier != "default":
            parts.append(f"tier={self.tier!r}")
        return f"Endpoint({', '.join(parts)})"


_COMPARED = tuple(spec.name for spec in fields(Endpoint) if spec.init and spec.name != "model")


def labels_of(given: Iterable[str] | str, where: str, name: str) -> Iterable[str]:
    """What a user gave as labels, as texts. Raises ConfigError for what is none."""
    if isinstance(given, str):
        return (given,)  # one label, not its letters
    try:
        labels = tuple(given)
    except TypeError:
        raise ConfigError(f"{name} {given!r} is not a list of texts", key=where) from None
    for label in labels:
        if not isinstance(label, str):
            raise ConfigError(f"{name}: {label!r} is not a text", key=where)
    return labels


def role_of(given: str, where: str) -> Role:
    """The role of that name. Raises ConfigError for an unknown one."""
    try:
        return Role(given)
    except ValueError:
        valid = [role.value for role in Role]
        raise ConfigError(f"unknown role {given!r}", key=where, valid=valid, got=given) from None


def status_of(given: str, where: str) -> EndpointStatus:
    """The status of that name. Raises ConfigError for an unknown one."""
    try:
        return EndpointStatus(given)
    except ValueError:
        valid = [status.value for status in EndpointStatus]
        raise ConfigError(f"unknown status {given!r}", key=where, valid=valid, got=str(given)) from None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something a source named that cannot be an endpoint: `id` as far as it has one, and why not."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody a discovery source knows, always the whole set; `revision` changes when it does.

    `rejected` are the entries that were left out, `loads` what endpoints have last told the source.
    """

    endpoints: tuple[Endpoint, ...]
    revision: int = 0
    rejected: tuple[Rejected, ...] = ()
    loads: Mapping[str, Load] = field(default_factory=lambda: _NO_LOADS)
