"""Who embeds, and which model that is: vectors of two models cannot be compared, so it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need

_SAYS = ("model", "model_name", "model_id", "repo_id", "deployment", "dimensions", "revision", "size")


@runtime_checkable
class Embedder(Protocol):
    """What is needed of LangChain's `Embeddings`: questions are embedded one by one."""

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text."""

    async def aembed_query(self, text: str) -> list[float]:
        """The same, awaited."""


def checked(embeddings: Any) -> Embedder:
    """The embedder itself; the bundled model for None.

    Raises:
        ConfigError: it is none. ImportError: None, without the extra `semantic`.
    """
    if embeddings is None:
        from langchain_cluster.cache.semantic.minilm import MiniLm

        return MiniLm()
    if not isinstance(embeddings, Embedder):
        raise ConfigError(
            f"{type(embeddings).__name__} is no embedder: it has no embed_query and aembed_query",
            key="SemanticCache.embeddings",
        )
    return embeddings


def fingerprint_of(embeddings: Any) -> str:
    """Which model it is: its own `fingerprint`, else its class and the settings that say so."""
    own = getattr(embeddings, "fingerprint", None)
    if isinstance(own, str):
        return own
    kind = type(embeddings)
    said = [f"{name}={value}" for name in _SAYS if (value := getattr(embeddings, name, None)) is not None
            and isinstance(value, str | int)]  # fmt: skip
    return "|".join([f"{kind.__module__}.{kind.__qualname__}", *said])


def unit(vector: Sequence[float]) -> Any | None:
    """float32, of length 1; None for one that has no direction."""
    numpy: Any = need("numpy", extra="semantic", for_="SemanticCache")
    array = numpy.asarray(vector, dtype=numpy.float32)
    length = float(numpy.linalg.norm(array))
    if array.ndim != 1 or not 0 < length < float("inf"):
        return None
    return array / length
