"""What a cache holds, for people: counts by layer, and one entry read back by whichever codec wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from langchain_cluster.cluster import Cluster
from langchain_cluster.config.describe import masked
from langchain_cluster.endpoints.codec import AnswerCodec
from langchain_cluster.endpoints.retrieval import DocumentsCodec
from langchain_cluster.endpoints.values import ValueCodec
from langchain_cluster.endpoints.vectors import VectorCodec
from langchain_cluster.errors import ConfigError
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.label import unlabelled


def counted(cluster: Cluster) -> dict[str, Any]:
    """What each cache has counted; None where there is none, or where it counts nothing."""
    exact = counts(cluster.cache)
    layers = [{"name": _name(one), **(counts(one) or {})} for one in _parts(cluster.cache)]
    if exact is not None and layers:
        exact["layers"] = layers
    return {"exact": exact, "semantic": counts(cluster.semantic_cache)}


def counts(store: Any) -> dict[str, Any] | None:
    """The counts of one store; None where it counts nothing."""
    stats = getattr(store, "stats", None)
    if not callable(stats):
        return None
    try:
        told = stats()
        shape = asdict(told)
    except Exception as error:  # a store that is away, or one of somebody else's that counts otherwise
        return {"error": type(error).__name__}
    if hasattr(told, "hit_ratio"):
        shape["hit_ratio"] = told.hit_ratio
    plain: dict[str, Any] = masked(shape)
    return plain


def find(cluster: Cluster, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """What lies under a `key`, or where the answer to a `prompt` (with `system`, of `tenant`) may lie.

    Raises:
        ConfigError: neither or both are given, or there is no cache.
    """
    store = cluster.cache
    if store is None:
        raise ConfigError("there is no exact cache", key="cache")
    if ("key" in given) is ("prompt" in given):
        raise ConfigError("give either key or prompt", key="body")
    keys: tuple[str, ...]
    if "key" in given:
        keys = (given["key"],)
    else:
        said = [("system", given["system"])] if "system" in given else []
        wishes = {"tenant": given["tenant"]} if "tenant" in given else {}
        llm = ClusteredLLM(cluster=cluster)
        asked = [*said, ("human", given["prompt"])]
        keys = llm.cache_keys(asked, {"configurable": {"cluster": wishes}})
    return [{"key": key, "layers": list(_layers(store, key))} for key in keys]


def take_back(cluster: Cluster, given: Mapping[str, str]) -> int:
    """Remove what is kept: by a `pattern` of keys, a `tenant`, `model` or `tag`; how many there were.

    Raises:
        ConfigError: there is no cache, nothing is asked for, or the store cannot say it.
    """
    if cluster.cache is None:
        raise ConfigError("there is no exact cache", key="cache")
    return int(cluster.cache.invalidate(**given))


def _layers(store: Any, key: str) -> Iterator[dict[str, Any]]:
    for part in _parts(store) or [store]:
        if hasattr(part, "store_of"):
            part = part.store_of(key)
        try:
            if hasattr(part, "entries"):
                (entry,) = part.entries([key])
            else:
                raw = part.get(key)
                entry = None if raw is None else (raw, None)
        except Exception as error:  # a layer that is away
            kind = type(error).__name__
            yield {"name": _name(part), "bytes": 0, "ttl": None, "kind": "away", "text": kind}
            continue
        if entry is not None:
            kind, text = read(entry[0])
            yield {"name": _name(part), "bytes": len(entry[0]), "ttl": entry[1], "kind": kind, "text": text}


def read(raw: bytes) -> tuple[str, str]:
    """What bytes of a cache are, and what they say."""
    raw = unlabelled(raw)
    for kind, told in _READERS:
        try:
            return kind, told(raw)
        except Exception:  # others' bytes
            continue
    return "unknown", f"{len(raw)} bytes that this version did not write"


def _answer(raw: bytes) -> str:
    message = AnswerCodec().decode(raw).generations[0].message
    calls = getattr(message, "tool_calls", None)
    return str(message.text) if not calls else f"{message.text}{orjson.dumps(calls).decode()}"


def _documents(raw: bytes) -> str:
    return "\n".join(document.page_content for document in DocumentsCodec().decode(raw))


def _vectors(raw: bytes) -> str:
    vectors = VectorCodec().decode(raw)
    return f"{len(vectors)} of {len(vectors[0])} dimensions"


_READERS: tuple[tuple[str, Callable[[bytes], str]], ...] = (
    ("answer", _answer),
    ("documents", _documents),
    ("vectors", _vectors),
    ("value", lambda raw: repr(ValueCodec().decode(raw))),
)


def _parts(store: Any) -> list[Any]:
    return list(getattr(store, "layers", ()))


def _name(store: Any) -> str:
    return str(getattr(store, "name", type(store).__name__))
