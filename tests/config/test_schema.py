"""The JSON schema says what `load` says."""

import json
import re
from typing import Any

from langchain_cluster.config import json_schema, load
from langchain_cluster.config.schema import ClusterConfig


def resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def test_every_key_is_there_and_no_other_is_allowed() -> None:
    schema = json_schema()
    json.dumps(schema, allow_nan=False)
    assert set(schema["properties"]) == set(ClusterConfig.model_fields)
    assert schema["anyOf"] == [{"required": ["endpoints"]}, {"required": ["discovery"]}]
    assert schema["additionalProperties"] is False
    endpoint = resolved(schema, schema["properties"]["endpoints"]["items"])
    assert endpoint["required"] == ["id", "model"]
    assert endpoint["additionalProperties"] is False
    assert "api_key" not in endpoint["properties"]


def test_a_name_or_a_mapping_stands_for_a_balancer_and_a_cache() -> None:
    schema = json_schema()
    for key in ("balancer", "cache"):
        kinds = [resolved(schema, option).get("type") for option in schema["properties"][key]["anyOf"]]
        assert kinds[0] == "string"
        first = resolved(schema, schema["properties"][key]["anyOf"][1])
        assert resolved(schema, first.get("oneOf", [first])[0])["type"] == "object"
    assert {"type": "null"} in schema["properties"]["cache"]["anyOf"]


def test_a_duration_may_be_a_text() -> None:
    schema = json_schema()
    number, text = schema["properties"]["drain_timeout"]["anyOf"]
    assert number == {"type": "number", "exclusiveMinimum": 0}
    assert re.search(text["pattern"], "250ms")
    assert not re.search(text["pattern"], "15 parsecs")
    one = {"endpoints": [{"id": "a", "model": "scripted:x"}]}
    assert load({**one, "drain_timeout": "250ms"}).drain_timeout == 0.25
