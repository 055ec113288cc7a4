"""The load of an endpoint as text, the way it travels through a registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson

from langchain_cluster.errors import ConfigError
from langchain_cluster.model.endpoint import Load

_OPENS = '{"load":'
_LONGEST = 1024


def load_text(load: Load) -> str:
    """`load` as JSON, what it does not report left out."""
    told = {name: value for name, value in asdict(load).items() if value is not None}
    return orjson.dumps({"load": told}).decode()


def load_of(text: Any) -> Load | None:
    """The load in `text`; None for any other text: a check may say what it likes."""
    if not isinstance(text, str) or not text.startswith(_OPENS) or len(text) > _LONGEST:
        return None
    try:
        return Load(**orjson.loads(text)["load"])
    except (ConfigError, TypeError, orjson.JSONDecodeError):
        return None
