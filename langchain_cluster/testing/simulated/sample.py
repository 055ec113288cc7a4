"""A JSON document that fits a schema, with what the prompt names in it.

Numbers in the prompt fill integer and number fields, and quoted passages fill text fields, both in
the order in which they come. Optional properties are left out. Not understood: `pattern`, `not`,
`if`, `patternProperties`; a text field with a pattern gets its own name.
"""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["Prompted", "sample"]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"(?<!\w)'([^'\n]{1,200})'(?!\w)|\"([^\"\n]{1,200})\"|[“‘]([^”’\n]{1,200})[”’]")
_FORMATS = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ann@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_DEEP = 6  # levels of nesting after which a recursive schema is given its shortest branch


class Prompted:
    """What a prompt offers for filling in, each passage once."""

    def __init__(self, text: str) -> None:
        self.quoted: list[str] = [next(filter(None, groups)) for groups in _QUOTED.findall(text)]
        self.numbers: list[float] = [float(number) for number in _NUMBER.findall(text)]


def sample(schema: dict[str, Any], prompted: Prompted) -> Any:
    """The smallest document that fits; takes what it uses out of `prompted`."""
    return _value(schema, schema, prompted, "value", 0)


def _value(schema: Any, root: dict[str, Any], prompted: Prompted, name: str, depth: int) -> Any:
    if not isinstance(schema, dict):  # `true` allows anything
        return name
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        nulls = [branch for branch in branches if isinstance(branch, dict) and branch.get("type") == "null"]
        others = [branch for branch in branches if branch not in nulls]
        best = nulls[0] if nulls and depth > _DEEP else (others or nulls)[0]
        return _value(best, root, prompted, name, depth + 1)
    match _type(schema, depth):
        case "object":
            properties = schema.get("properties", {})
            return {
                key: _value(properties.get(key, True), root, prompted, key, depth + 1)
                for key in schema.get("required", ())
            }
        case "array":
            return _array(schema, root, prompted, name, depth)
        case "integer":
            return int(_number(schema, prompted, 1))
        case "number":
            return float(_number(schema, prompted, 0))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema, prompted, name)


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follow `$ref` and merge `allOf`."""
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")] if part else target
        schema = {key: value for key, value in schema.items() if key != "$ref"} | target
    if "allOf" not in schema:
        return schema
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        part = _resolved(part, root)
        properties = merged.get("properties", {}) | part.get("properties", {})
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged |= part
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = list(dict.fromkeys(required))
    return merged


def _type(schema: dict[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        if "null" in kind and depth > _DEEP:
            return "null"
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _array(schema: dict[str, Any], root: dict[str, Any], prompted: Prompted, name: str, depth: int) -> Any:
    firsts = schema.get("prefixItems", [])
    least = schema.get("minItems", 0)
    wanted = max(least, len(firsts) or (0 if depth > _DEEP else 1))
    wanted = min(wanted, schema.get("maxItems", wanted))
    kinds = [*firsts, *[schema.get("items", True)] * wanted][:wanted]
    return [_value(kind, root, prompted, name, depth + 1) for kind in kinds]


def _number(schema: dict[str, Any], prompted: Prompted, step: int) -> float:
    """The next number of the prompt, moved to where the bounds allow it. step: 1 for integers."""
    value = prompted.numbers.pop(0) if prompted.numbers else 1.0
    beyond = step or 1e-6
    if (low := schema.get("minimum")) is not None:
        value = max(value, low)
    if (low := schema.get("exclusiveMinimum")) is not None:
        value = max(value, low + beyond)
    if (high := schema.get("maximum")) is not None:
        value = min(value, high)
    if (high := schema.get("exclusiveMaximum")) is not None:
        value = min(value, high - beyond)
    if unit := schema.get("multipleOf"):
        value = unit * math.ceil(value / unit)  # which keeps the lower bound
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if high is not None and value > high:
            value -= unit
    return value


def _text(schema: dict[str, Any], prompted: Prompted, name: str) -> str:
    if (known := _FORMATS.get(schema.get("format", ""))) is not None:
        return known
    value: str = name if "pattern" in schema or not prompted.quoted else prompted.quoted.pop(0)
    value += "." * (schema.get("minLength", 0) - len(value))
    longest: int = schema.get("maxLength", len(value))
    return value[:longest]
