"""No mapping whatsoever makes `load` raise anything but ConfigError."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_cluster.config import ClusterConfig, describe, load
from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.policy import PolicyConfig
from langchain_cluster.errors import ConfigError

KNOWN = [*ClusterConfig.model_fields, *EndpointConfig.model_fields, *PolicyConfig.model_fields]
KNOWN += ["api_key", "kind", "decay", "seconds", "ttl", "self", "cls", "options", "input"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates too
    | st.binary()
    | st.dates()
    | st.sampled_from(["memory", "peak_ewma", "openai:m", "15s", "http://x", "fixed"])
)
KEYS = st.sampled_from(KNOWN) | st.text(st.characters(), max_size=5) | st.integers() | st.none()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner), max_leaves=8
)
LITTLE = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@LITTLE
@given(st.dictionaries(KEYS, TREES))
def test_any_mapping_is_a_config_or_a_config_error(given: dict[Any, Any]) -> None:
    try:
        load(given)
    except ConfigError:
        pass


@LITTLE
@given(st.dictionaries(KEYS, TREES, max_size=3), st.dictionaries(KEYS, TREES, max_size=3))
def test_nearly_valid_ones_too(around: dict[Any, Any], within: dict[Any, Any]) -> None:
    endpoint = {"id": "a", "model": "scripted:x", **within}
    try:
        config = load({**around, "endpoints": [endpoint]})
    except ConfigError:
        pass
    else:
        describe(config)
