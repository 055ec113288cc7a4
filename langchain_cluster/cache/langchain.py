"""One of our stores as LangChain's own model cache, for models that are not in a cluster.

`set_llm_cache(LangChainCache(MemoryCache()))`. A `ClusteredLLM` does not need it: give it the store.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Any

import orjson
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from langchain_cluster.cache.given import a_store
from langchain_cluster.ports import CacheStore

_LOG = logging.getLogger("langchain_cluster")
# Only what an answer is made of: whoever can write to the store must not be able to have other objects
# built here. LangChain's own word for it, "messages", leaves the generations around them out.
_ALLOWED = (
    Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk,
    AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk,
)  # fmt: skip


class LangChainCache(BaseCache):
    """A LangChain `BaseCache` over a `CacheStore`.

    Args:
        store: where the bytes go.
        prefix: of every key, so that `clear` leaves others' entries alone.

    Raises:
        ConfigError: what is no store.
    """

    def __init__(self, store: CacheStore, *, prefix: str = "lc:langchain:") -> None:
        self._store, self._prefix = a_store(store, "LangChainCache.store"), prefix
        self._told: type[Exception] | None = None  # the kind of failure that was logged last

    def _key(self, prompt: str, llm_string: str) -> str:
        # Lengths first: no prompt can be written so that it runs into the model's part.
        text = f"{len(prompt)}|{prompt}|{llm_string}"
        return self._prefix + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The generations stored for this prompt and model, None if there are none, or nobody can say."""
        key = self._key(prompt, llm_string)
        try:
            return _decode(self._store.get(key))
        except Exception as error:
            self._failed("lookup", error)
            return None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store generations. Those of a store that is away are not kept."""
        key = self._key(prompt, llm_string)
        try:
            self._store.set(key, _encode(return_val))
        except Exception as error:
            self._failed("store", error)

    def clear(self, **kwargs: Any) -> None:
        """Remove everything this cache has stored."""
        self._store.clear(f"{self._prefix}*")

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """See `lookup`."""
        key = self._key(prompt, llm_string)
        try:
            return _decode(await self._store.aget(key))
        except Exception as error:
            self._failed("lookup", error)
            return None

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See `update`."""
        key = self._key(prompt, llm_string)
        try:
            await self._store.aset(key, _encode(return_val))
        except Exception as error:
            self._failed("store", error)

    async def aclear(self, **kwargs: Any) -> None:
        """See `clear`."""
        await self._store.aclear(f"{self._prefix}*")

    def _failed(self, operation: str, error: Exception) -> None:
        """A cache that breaks must not break the call; outside a cluster there are no events to tell it."""
        if type(error) is not self._told:
            self._told = type(error)
            _LOG.warning("cache failed: operation=%s error=%s", operation, type(error).__name__)


def _encode(generations: RETURN_VAL_TYPE) -> bytes:
    return orjson.dumps([dumpd(generation) for generation in generations])


def _decode(raw: bytes | None) -> list[Generation] | None:
    if raw is None:
        return None
    # Nor are secrets read from the environment.
    read = orjson.loads(raw)
    if not isinstance(read, list):
        raise ValueError("not generations")
    found = [load(one, allowed_objects=_ALLOWED, secrets_from_env=False) for one in read]
    if not all(isinstance(one, Generation) for one in found):
        raise ValueError("not generations")
    return found
