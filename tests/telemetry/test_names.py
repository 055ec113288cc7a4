"""Names in traces are what dashboards and alerts are built on: they change on purpose or not at all."""

from __future__ import annotations

import pytest

from langchain_cluster.telemetry import names

PINNED = {
    "SEMCONV_VERSION": "1.37.0",
    "SCOPE": "langchain_cluster",
    "CALL": "langchain_cluster chat",
    "LOOKUP": "langchain_cluster cache lookup",
    "ATTEMPT": "chat",
    "OPERATION": "gen_ai.operation.name",
    "PROVIDER": "gen_ai.provider.name",
    "REQUEST_MODEL": "gen_ai.request.model",
    "INPUT_TOKENS": "gen_ai.usage.input_tokens",
    "OUTPUT_TOKENS": "gen_ai.usage.output_tokens",
    "SERVER_ADDRESS": "server.address",
    "SERVER_PORT": "server.port",
    "ERROR_TYPE": "error.type",
    "BALANCER": "langchain_cluster.balancer",
    "ENDPOINT": "langchain_cluster.endpoint",
    "TIER": "langchain_cluster.tier",
    "ATTEMPT_NUMBER": "langchain_cluster.attempt",
    "ATTEMPTS": "langchain_cluster.attempts",
    "VERDICT": "langchain_cluster.verdict",
    "CACHE": "langchain_cluster.cache",
    "HEDGED": "langchain_cluster.hedged",
    "COST": "langchain_cluster.cost_usd",
    "AGENT": "langchain_cluster.agent",
    "TENANT": "langchain_cluster.tenant_hash",
    "STREAMING": "langchain_cluster.streaming",
    "FIRST_TOKEN_SECONDS": "langchain_cluster.first_token_seconds",
    "QUEUE": "langchain_cluster queue wait",
    "INPUT_MESSAGES": "gen_ai.input.messages",
    "OUTPUT_MESSAGES": "gen_ai.output.messages",
    "RESPONSE_MODEL": "gen_ai.response.model",
    "FINISH_REASONS": "gen_ai.response.finish_reasons",
    "EVENT_FIRST_TOKEN": "langchain_cluster.event.first_token",
    "EVENT_BREAKER": "langchain_cluster.event.breaker",
    "METRIC_DURATION": "gen_ai.client.operation.duration",
    "METRIC_TOKENS": "gen_ai.client.token.usage",
    "METRIC_FIRST_TOKEN": "langchain_cluster.time_to_first_token",
    "METRIC_PER_TOKEN": "langchain_cluster.time_per_output_token",
    "METRIC_REQUESTS": "langchain_cluster.requests",
    "METRIC_ATTEMPTS": "langchain_cluster.attempts",
    "METRIC_CACHE_HITS": "langchain_cluster.cache.hits",
    "METRIC_BREAKER": "langchain_cluster.breaker.state",
    "METRIC_IN_FLIGHT": "langchain_cluster.in_flight",
    "METRIC_COST": "langchain_cluster.cost",
}


def words() -> dict[str, str]:
    return {name: value for name, value in vars(names).items() if name.isupper()}


def test_the_names_in_use_are_the_pinned_ones() -> None:
    assert {name: words()[name] for name in PINNED} == PINNED


def test_every_attribute_is_the_conventions_or_under_our_own_name() -> None:
    apart = {"SEMCONV_VERSION", "SCOPE", "LOOKUP", "QUEUE", "LABEL_OVERFLOW"}
    apart |= {f"{what}{of}" for what in ("CALL", "ATTEMPT") for of in ("", "_EMBEDDINGS", "_RETRIEVAL")}
    for name, value in words().items():
        if name not in apart:
            assert value.startswith(("gen_ai.", "server.", "error.", "langchain_cluster.")), value


def test_what_is_called_as_in_the_conventions_is_in_them() -> None:
    package = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    metrics = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    known = {value for module in (package, metrics) for value in vars(module).values() if type(value) is str}
    for name, value in words().items():
        if value.startswith("gen_ai."):
            assert value in known, name


def test_no_name_is_used_for_two_things() -> None:
    for metric in (True, False):
        values = [value for name, value in words().items() if name.startswith("METRIC_") is metric]
        assert len(set(values) - {"langchain_cluster"}) == len(values) - values.count("langchain_cluster")
