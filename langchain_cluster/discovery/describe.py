"""From an `Endpoint` to what a registry keeps of it: the way back from `entry.py`, by the same names."""

from __future__ import annotations

from dataclasses import fields
from urllib.parse import urlsplit

from langchain_cluster.discovery.entry import Entry, endpoint_of
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Capacity, Endpoint, Rejected

_PORTS = {"http": 80, "https": 443}
_OWN = ("address", "port")  # put into the metadata of an endpoint that was discovered


def entry_of(endpoint: Endpoint) -> Entry:
    """The entry from which the same endpoint is made again, but for its model.

    Raises:
        ConfigError: it has no url to be reached at, or one that nobody would accept.
    """
    where = f"endpoint {endpoint.id!r}"
    if endpoint.url is None:
        raise ConfigError("it has no url: a registry has to say where it is", key=where)
    meta = {name: value for name, value in endpoint.metadata.items() if name not in _OWN}
    meta |= _meta(endpoint)
    parts = urlsplit(endpoint.url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    if parts.scheme != "http":
        meta["scheme"] = parts.scheme
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if path:
        meta["path"] = path
    entry = Entry(endpoint.id, parts.hostname or "", port, meta, tuple(sorted(endpoint.tags)))
    if "@" in parts.netloc:
        raise ConfigError("its url has a user or a password in it", key=where)
    made = endpoint_of(entry)
    if isinstance(made, Rejected):
        raise ConfigError(made.reason, key=where)
    return entry


def _meta(endpoint: Endpoint) -> dict[str, str]:
    """What is not as it would be if nothing were said."""
    meta = {}
    plain = Endpoint("-")
    for name in ("weight", "zone", "tier", "priority", "quota_group", "identity", "context_window"):
        value = getattr(endpoint, name)
        if value is not None and value != getattr(plain, name):
            meta[name] = str(value)
    if endpoint.roles != plain.roles:
        meta["roles"] = ",".join(sorted(endpoint.roles))
    if endpoint.capabilities is not None:
        meta["capabilities"] = ",".join(sorted(endpoint.capabilities))
    for spec in fields(Capacity):
        bound = getattr(endpoint.capacity, spec.name)
        if bound is not None:
            meta[spec.name] = str(bound)
    if endpoint.price is not None:
        meta["price_input"], meta["price_output"] = str(endpoint.price.input), str(endpoint.price.output)
        if endpoint.price.cached_input is not None:
            meta["price_cached_input"] = str(endpoint.price.cached_input)
    return meta
