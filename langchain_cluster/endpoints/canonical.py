"""Any input as JSON that is the same for equal inputs and another for others; some have no such form.

Every container is tagged with its kind, so that no two kinds run into each other: a tuple is not a list, a
date is not its text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables.utils import AddableDict
from pydantic import BaseModel

from langchain_cluster.endpoints.blocks import Uncacheable
from langchain_cluster.endpoints.fingerprint import message_parts

_PLAIN = (str, int, bool, type(None))
_TOLD = (datetime, date, time, timedelta, Decimal, UUID, PurePath)


def canonical(value: Any) -> Any:
    """`value` as JSON. Raises Uncacheable for what has no faithful form, such as a live object."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if not isfinite(value):
            raise Uncacheable
        return value
    if kind in (list, tuple):
        return [kind.__name__, *map(canonical, value)]
    if kind in (dict, AddableDict):
        if not all(type(key) is str for key in value):
            raise Uncacheable
        return ["dict", {key: canonical(inner) for key, inner in value.items()}]
    if kind in (set, frozenset):
        return ["set", *sorted(digest(inner) for inner in value)]
    if kind in (bytes, bytearray):
        return ["bytes", sha256(value).hexdigest()]
    if isinstance(value, BaseMessage):
        return ["message", message_parts(value)]
    if isinstance(value, Document):
        return ["document", value.page_content, canonical(value.metadata), value.id]
    if isinstance(value, ChatPromptValue | StringPromptValue):
        return ["prompt", *[message_parts(message) for message in value.to_messages()]]
    if isinstance(value, Enum):
        return ["enum", _name(kind), canonical(value.value)]
    if isinstance(value, _TOLD):
        return [kind.__name__, str(value)]
    return [_name(kind), canonical(_fields(value))]


def digest(value: Any) -> str:
    """A digest of the canonical form. Raises Uncacheable."""
    try:
        return sha256(orjson.dumps(canonical(value), option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (TypeError, RecursionError):  # half a surrogate pair, a number of over 64 bits, a circle
        raise Uncacheable from None


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _fields(value: Any) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise Uncacheable
