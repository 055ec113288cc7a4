"""What all endpoints of a pool have in common: whoever answers can do at least this."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.pool.members import Snapshot


def common_profile(endpoints: Iterable[Endpoint]) -> dict[str, Any] | None:
    """The meet of the models' profiles: the least of numbers, "and" of booleans; None without any."""
    profiles = []
    for endpoint in endpoints:
        if Role.LLM not in endpoint.roles:
            continue  # no chat of ours will be answered by it
        profile = getattr(_bare(endpoint), "profile", None)
        if not profile:
            return None  # nothing is known of this one, so nothing is known of all
        profiles.append(profile)
    if not profiles:
        return None
    shared = set(profiles[0]).intersection(*profiles[1:])
    common: dict[str, Any] = {}
    for name in sorted(shared):
        values = [profile[name] for profile in profiles]
        if all(isinstance(value, bool) for value in values):
            common[name] = all(values)
        elif all(isinstance(value, int | float) for value in values):
            common[name] = min(values)
        elif all(value == values[0] for value in values):
            common[name] = values[0]
    return common


def common_model_name(snapshot: Snapshot) -> str:
    """The models' name for traces, or their names when they differ."""
    chats = [m.endpoint for m in snapshot.members if Role.LLM in m.endpoint.roles][:16]
    names = dict.fromkeys(map(_name, chats))
    return "+".join(name for name in names if name) or "cluster"


def _name(endpoint: Endpoint) -> str | None:
    model = _bare(endpoint)
    for attribute in ("model_name", "model"):
        value = getattr(model, attribute, None)
        if isinstance(value, str) and value:
            return value
    return endpoint.metadata.get("model")


def _bare(endpoint: Endpoint) -> Any:
    model = endpoint.model
    while hasattr(model, "bound"):
        model = model.bound
    return model
