"""From what a registry knows of a service to an `Endpoint`, or to the reason why it cannot be one.

Whoever may write to the registry writes this: nothing in it is believed. An endpoint has no model here;
who makes one reads `metadata`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.address import host_problem, port_problem, url_problem
from langchain_cluster.model.endpoint import Capacity, Endpoint, Load, Price, Rejected, Role
from langchain_cluster.registry.text import CONTROL, printable

MOST_BYTES = 64 * 1024  # of one entry's id, address, tags and metadata together
LONGEST_ID = 256
LONGEST_REASON = 300  # characters; what the registry said is quoted in it

_FIELDS = (
    "url",
    "scheme",
    "path",
    "weight",
    "zone",
    "tier",
    "roles",
    "priority",
    "quota_group",
    "identity",
    "context_window",
    "capabilities",
    "max_connections",
    "max_rpm",
    "max_tpm",
    "max_memory_mb",
    "price_input",
    "price_output",
    "price_cached_input",
)
FIELDS: Mapping[str, str] = MappingProxyType({name: name for name in _FIELDS})
"""What is read from the metadata: field -> the key it is read from, unless the user names another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One service as a registry knows it; `weight` is the registry's own, for where metadata has none."""

    id: str
    address: str
    port: int
    meta: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    weight: float = 1.0
    load: Load | None = field(default=None, compare=False)  # an entry is the same whatever it carries


def mapping_of(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """The default mapping with the user's own keys. Raises ConfigError for a field there is none of."""
    for name, key in (given or {}).items():
        if name not in FIELDS:
            raise ConfigError(f"unknown field {name!r}", key="mapping", valid=list(FIELDS), got=str(name))
        if not key:
            raise ConfigError(f"{key!r} is not the name of a metadata key", key=f"mapping.{name}")
    return MappingProxyType({**FIELDS, **(given or {})})


def endpoint_of(entry: Entry, mapping: Mapping[str, str] = FIELDS) -> Endpoint | Rejected:
    """The endpoint `entry` describes."""
    id = printable(entry.id)
    reason = _shape_problem(entry)
    if reason is not None:
        return Rejected(id, reason)
    labels = dict(tag.split("=", 1) for tag in entry.tags if "=" in tag)
    known = {**labels, **entry.meta}
    given = {name: known[key] for name, key in mapping.items() if known.get(key, "") != ""}
    url = given.get("url")
    if url is None:
        reason = host_problem(entry.address.strip("[]")) or port_problem(entry.port)
        url = "" if reason else _url(given.get("scheme", "http"), entry, given.get("path", ""))
    reason = reason or url_problem(url)
    if reason is not None:
        return Rejected(id, reason)
    try:
        return Endpoint(
            entry.id,
            url=url,
            weight=_number(given, "weight", float, entry.weight),
            zone=given.get("zone"),
            tier=given.get("tier", "default"),
            roles=frozenset(Role(role) for role in _words(given.get("roles", "llm"))),
            tags=frozenset(tag for tag in entry.tags if "=" not in tag),
            metadata={**known, "address": entry.address, "port": str(entry.port)},
            capacity=Capacity(
                max_connections=_number(given, "max_connections", int),
                max_rpm=_number(given, "max_rpm", int),
                max_tpm=_number(given, "max_tpm", int),
                max_memory_mb=_number(given, "max_memory_mb", float),
            ),
            price=_price(given),
            priority=_number(given, "priority", int, 0),
            quota_group=given.get("quota_group"),
            identity=given.get("identity"),
            context_window=_number(given, "context_window", int),
            capabilities=frozenset(_words(given["capabilities"])) if "capabilities" in given else None,
        )
    except ValueError as error:  # ConfigError too
        return Rejected(id, printable(str(error), LONGEST_REASON))


def _shape_problem(entry: Entry) -> str | None:
    texts = [entry.id, entry.address, *entry.tags, *entry.meta, *entry.meta.values()]
    if not all(isinstance(text, str) for text in texts):
        return "its id, address, tags and metadata are not all texts"
    if sum(len(text) for text in texts) > MOST_BYTES:
        return f"it is larger than {MOST_BYTES // 1024} KiB"
    if not entry.id.strip() or len(entry.id) > LONGEST_ID:
        return f"its id is empty, or longer than {LONGEST_ID} characters"
    if any(unicodedata.category(character) in CONTROL for text in texts for character in text):
        return "it has control characters in it"
    return None


def _url(scheme: str, entry: Entry, path: str) -> str:
    host = entry.address.strip("[]")
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{entry.port}{path and '/' + path.lstrip('/')}"


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _number(given: Mapping[str, str], name: str, kind: Callable[[str], Any], default: Any = None) -> Any:
    if name not in given:
        return default
    try:
        number = kind(given[name])
        fits = math.isfinite(number) and number >= 0
    except (ValueError, OverflowError):  # an integer of 400 digits is one, and has no float
        fits = False
    if not fits:
        whole = "an integer" if kind is int else "a number"
        raise ValueError(f"its {name} {printable(given[name])!r} is not {whole} >= 0")
    return number


def _price(given: Mapping[str, str]) -> Price | None:
    if "price_input" not in given and "price_output" not in given:
        return None
    return Price(
        input=_number(given, "price_input", float, 0.0),
        output=_number(given, "price_output", float, 0.0),
        cached_input=_number(given, "price_cached_input", float),
    )
