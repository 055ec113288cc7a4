"""Texts as vectors, each embedded once while it is remembered, and all of one length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

from langchain_cluster.cache.semantic.embedder import checked, fingerprint_of, unit
from langchain_cluster.errors import ConfigError

_REMEMBERED = 1_024  # texts embedded a moment ago: what is looked up is stored soon after
_PROBE = "How long is a vector?"


class Vectors:
    """What an embedder gives, as unit vectors.

    Args:
        embeddings: LangChain `Embeddings`; None for the bundled model.

    Attributes:
        dimensions: of every vector; None before the first.

    Raises:
        ConfigError: it is no embedder. ImportError: None, without the extra `semantic`.
    """

    def __init__(self, embeddings: Any) -> None:
        self.embeddings = checked(embeddings)
        self.fingerprint = fingerprint_of(self.embeddings)
        self.dimensions: int | None = None
        self._lately: OrderedDict[str, Any] = OrderedDict()
        self._lock = Lock()

    def of(self, text: str) -> Any:
        """The vector of a question. Raises ConfigError when it has another length than those before."""
        known = self._lately.get(text)
        return self._learn(text, self.embeddings.embed_query(_valid(text))) if known is None else known

    async def aof(self, text: str) -> Any:
        """The asyncio twin of `of`: the embedder is awaited."""
        known = self._lately.get(text)
        return self._learn(text, await self.embeddings.aembed_query(_valid(text))) if known is None else known

    def sense(self, words: str) -> Any:
        """The vector of an answer, which is not remembered."""
        return unit(self.embeddings.embed_query(_valid(words)))

    async def asense(self, words: str) -> Any:
        """The asyncio twin of `sense`."""
        return unit(await self.embeddings.aembed_query(_valid(words)))

    def length(self) -> int:
        """The dimensions, if need be by embedding a text."""
        return self.dimensions or len(self.of(_PROBE))

    def clear(self) -> None:
        """Forget them all, and how long they are."""
        with self._lock:
            self._lately.clear()
            self.dimensions = None

    def _learn(self, text: str, given: Sequence[float]) -> Any:
        vector = unit(given)
        if vector is None:
            raise ValueError("the embedder gave a vector without a direction")
        with self._lock:
            if self.dimensions is None:
                self.dimensions = len(vector)
            elif len(vector) != self.dimensions:
                raise ConfigError(
                    f"the embedder gives {len(vector)} dimensions, and the cache was filled with"
                    f" {self.dimensions}: vectors of two models cannot be compared; clear() the cache, or"
                    " give the embedder it was filled with",
                    key="SemanticCache.embeddings",
                )
            self._lately[text] = vector
            if len(self._lately) > _REMEMBERED:
                self._lately.popitem(last=False)
        return vector


def _valid(text: str) -> str:
    """The text as an embedder can take it: half a surrogate pair is none of Unicode's characters."""
    return text.encode("utf-8", "replace").decode()
