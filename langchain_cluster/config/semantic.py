"""Answers by meaning, as it is written in a file: always with the embedder of the extra `semantic`."""

from __future__ import annotations

from pydantic import Field

from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict


class SemanticConfig(Strict):
    """A semantic cache with the bundled embedder."""

    threshold: float | None = Field(None, gt=0, le=1, description="0.9 without error_rate")
    error_rate: float | None = Field(None, gt=0, lt=0.2, description="wrong answers per hit; learned")
    audit: float | None = Field(None, ge=0, le=1, description="part of the hits that are checked")
    max_entries: int = Field(50_000, ge=1, strict=True)
    max_chars: int = Field(1_000, ge=1, strict=True)
    ttl: Seconds | None = None
    path: str | None = Field(None, description="a file that keeps it across restarts")

    def make(self) -> SemanticCache:
        """A new one; here the file is read.

        Raises:
            ConfigError: the extra is not installed, or the file is of another embedder.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return SemanticCache(**given)
        except ImportError as missing:
            raise ConfigError(str(missing), key="embeddings") from None
