"""Conditions a request puts on endpoints before anybody balances: role, tier, tags, model, abilities."""

from __future__ import annotations

from langchain_cluster.model.call import Request
from langchain_cluster.model.endpoint import Endpoint


def lacks(endpoint: Endpoint, request: Request) -> str | None:
    """Why `endpoint` may not serve `request`, in a short clause; None when it may."""
    if request.role not in endpoint.roles:
        return f"has no role {request.role.value}"
    if request.tier is not None and endpoint.tier != request.tier:
        return f"is of tier {endpoint.tier}, not {request.tier}"
    if not request.tags <= endpoint.tags:
        return f"lacks the tags {', '.join(sorted(request.tags - endpoint.tags))}"
    if request.model is not None and endpoint.metadata.get("model") != request.model:
        return f"does not serve the model {request.model}"
    if request.needs and endpoint.capabilities is not None and not request.needs <= endpoint.capabilities:
        return f"cannot do {', '.join(sorted(request.needs - endpoint.capabilities))}"
    return None
