"""One of our stores as LangChain's own model cache, for models that are not in a cluster.

`set_llm_cache(LangChainCache(MemoryCache()))`. A `ClusteredLLM` does not need it: give it the store.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from langchain_cluster.ports import CacheStore

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
    """

    def __init__(self, store: CacheStore, *, prefix: str = "lc:langchain:") -> None:
        self._store, self._prefix = store, prefix

    def _key(self, prompt: str, llm_string: str) -> str:
        # Lengths first: no prompt can be written so that it runs into the model's part.
        text = f"{len(prompt)}|{prompt}|{llm_string}"
        return self._prefix + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The generations stored for this prompt and model, None if there are none."""
        return _decode(self._store.get(self._key(prompt, llm_string)))

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store generations."""
        self._store.set(self._key(prompt, llm_string), _encode(return_val))

    def clear(self, **kwargs: Any) -> None:
        """Remove everything this cache has stored."""
        self._store.clear(f"{self._prefix}*")

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """See `lookup`."""
        return _decode(await self._store.aget(self._key(prompt, llm_string)))

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See `update`."""
        await self._store.aset(self._key(prompt, llm_string), _encode(return_val))

    async def aclear(self, **kwargs: Any) -> None:
        """See `clear`."""
        await self._store.aclear(f"{self._prefix}*")


def _encode(generations: RETURN_VAL_TYPE) -> bytes:
    return orjson.dumps([dumpd(generation) for generation in generations])


def _decode(raw: bytes | None) -> list[Generation] | None:
    if raw is None:
        return None
    # Nor are secrets read from the environment.
    return [load(one, allowed_objects=_ALLOWED, secrets_from_env=False) for one in orjson.loads(raw)]
