"""`/metrics`: what telemetry has for Prometheus, where it was set up; else the few numbers of a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_cluster.cluster import Cluster
from langchain_cluster.extras import need

TEXT = "text/plain; version=0.0.4; charset=utf-8"

_OF_CLUSTER = {
    "calls": ("counter", "Calls that ended."),
    "answered": ("counter", "Calls that were answered."),
    "failed": ("counter", "Calls that failed."),
    "cache_hits": ("counter", "Calls answered by a cache."),
    "in_flight": ("gauge", "Calls under way."),
    "input_tokens": ("counter", "Tokens of prompts."),
    "output_tokens": ("counter", "Tokens of answers."),
    "cost_usd": ("counter", "USD for answers of endpoints with a price."),
}
_OF_ENDPOINT = {
    "served": ("counter", "Answers."),
    "failed": ("counter", "Attempts that failed."),
    "in_flight": ("gauge", "Attempts under way."),
    "latency_seconds": ("gauge", "Moving average of the latency."),
}


def exposition(cluster: Cluster, snapshot: dict[str, Any]) -> str:
    """Prometheus' text format, 0.0.4."""
    outlets = cluster.telemetry.outlets
    if outlets is not None and outlets.registry is not None:
        client = need("prometheus_client", extra="otel", for_="Prometheus")
        text: str = client.generate_latest(outlets.registry).decode()
        return text
    return "\n".join([*_lines(snapshot), ""])


def _lines(snapshot: dict[str, Any]) -> Iterator[str]:
    for name, (kind, told) in _OF_CLUSTER.items():
        yield from _head(full := _full("", name, kind), kind, told)
        yield f"{full} {snapshot['stats'][name]}"
    for name, (kind, told) in _OF_ENDPOINT.items():
        yield from _head(full := _full("endpoint_", name, kind), kind, told)
        for endpoint in snapshot["endpoints"]:
            yield f'{full}{{endpoint="{_escaped(endpoint["id"])}"}} {endpoint[name]}'
    yield from _head(name := "langchain_cluster_admin_endpoint_state", "gauge", "1 for the state it is in.")
    for endpoint in snapshot["endpoints"]:
        yield f'{name}{{endpoint="{_escaped(endpoint["id"])}",state="{endpoint["state"]}"}} 1'


def _full(of: str, name: str, kind: str) -> str:
    return f"langchain_cluster_admin_{of}{name}{'_total' if kind == 'counter' else ''}"


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
