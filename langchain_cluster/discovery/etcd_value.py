"""The value of a key in etcd: a JSON object that says where an endpoint is, and anything else of it.

{"address": "10.0.0.1", "port": 8000, "weight": 2, "zone": "a", "tags": ["gpu"],
 "metadata": {"model": "llama-3"}, "load": {"connections": 3}}
"""

from __future__ import annotations

from typing import Any

import orjson

from langchain_cluster.discovery.entry import MOST_BYTES, Entry
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Load, Rejected
from langchain_cluster.registry.text import printable

_GROUPS = {"metadata": "", "capacity": "", "price": "price_"}


def entry_in(id: str, value: bytes) -> Entry | Rejected:
    """The entry `value` tells of the endpoint `id`."""
    if len(value) > MOST_BYTES:
        return Rejected(printable(id), f"it is larger than {MOST_BYTES // 1024} KiB")
    try:
        told = orjson.loads(value)
    except orjson.JSONDecodeError:
        return Rejected(printable(id), "its value is not JSON")
    if not isinstance(told, dict):
        return Rejected(printable(id), "its value is not a JSON object")
    meta: dict[str, str] = {}
    for name, given in told.items():
        if name in _GROUPS and isinstance(given, dict):
            meta |= {_GROUPS[name] + key: _text(inner) for key, inner in given.items()}
        elif name not in ("address", "port", "tags", "load"):
            meta[name] = _text(given)
    tags = told.get("tags") or ()
    if not isinstance(tags, list | tuple):
        return Rejected(printable(id), "its tags are not a list")
    try:
        load = Load(**told["load"]) if told.get("load") else None
    except (ConfigError, TypeError):
        load = None  # it is well all the same
    return Entry(id, told.get("address") or "", told.get("port") or 0, meta, tuple(tags), 1.0, load)


def value_of(entry: Entry, load: dict[str, Any] | None) -> bytes:
    """The value from which `entry` is read again."""
    told: dict[str, Any] = {"address": entry.address, "port": entry.port}
    if entry.tags:
        told["tags"] = list(entry.tags)
    if entry.meta:
        told["metadata"] = dict(entry.meta)
    if load:
        told["load"] = load
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(isinstance(word, str) for word in given):
        return ",".join(given)
    return "" if given is None else orjson.dumps(given).decode()
