"""Which instruments there are: name, unit, what it is, and for histograms the bounds of their buckets."""

from __future__ import annotations

from langchain_cluster.telemetry import names

# The conventions' own advice for seconds and tokens.
_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]
_TOKEN_SECONDS = [0.001 * 2**n for n in range(12)]
_AGES = [1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 604800.0]
LOST = "Measurements that were lost because more came than could be worked off."
HISTOGRAMS: tuple[tuple[str, str, str, list[float]], ...] = (
    (names.METRIC_DURATION, "s", "Duration of an attempt.", _SECONDS),
    (names.METRIC_TOKENS, "{token}", "Tokens of an attempt, where its endpoint tells.", _TOKENS),
    (names.METRIC_FIRST_TOKEN, "s", "From asking to the first token of a stream.", _SECONDS),
    (names.METRIC_PER_TOKEN, "s", "Between the tokens of a stream after the first.", _TOKEN_SECONDS),
    (names.METRIC_REQUEST_DURATION, "s", "Duration of a call, with all its attempts.", _SECONDS),
    (names.METRIC_QUEUE_WAIT, "s", "How long calls waited for a place.", _SECONDS),
    (names.METRIC_CACHE_AGE, "s", "Age of the answers that caches gave.", _AGES),
)
COUNTERS = (
    (names.METRIC_REQUESTS, "{request}", "Calls, by how they ended."),
    (names.METRIC_ATTEMPTS, "{attempt}", "Attempts, by verdict."),
    (names.METRIC_RETRIES, "{attempt}", "Attempts after a call's first."),
    (names.METRIC_HEDGES, "{attempt}", "Attempts beside one that was slow."),
    (names.METRIC_CACHE_HITS, "{request}", "Calls that a cache answered."),
    (names.METRIC_CACHE_MISSES, "{request}", "Calls that no cache could answer."),
    (names.METRIC_BREAKER_CHANGES, "{change}", "Circuits that changed their state."),
    (names.METRIC_SHED, "{request}", "Calls that were refused before anybody was asked."),
    (names.METRIC_EJECTIONS, "{ejection}", "Endpoints taken out for doing worse than their peers."),
    (names.METRIC_COST, "{USD}", "What answers cost, where a price is known."),
)
