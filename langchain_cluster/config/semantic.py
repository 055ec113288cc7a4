"""Answers by meaning, as it is written in a file: always with the embedder of the extra `semantic`."""

from __future__ import annotations

from pydantic import Field

from langchain_cluster.cache.semantic import RedisJournals, SemanticCache
from langchain_cluster.cache.semantic.share.redis import ENTRIES
from langchain_cluster.config.redis_address import SharedRedis
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.strict import Seconds, Strict, relocated


class ShareConfig(SharedRedis):
    """Through a plain Redis or Valkey; the address comes from a variable: it often has a password in it."""

    max_records: int = Field(ENTRIES, ge=1, strict=True, description="that the server keeps, about")
    timeout: Seconds = 1.0

    def make(self) -> RedisJournals:
        """New ones; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        return self.connected(
            lambda url: RedisJournals.from_url(
                url, namespace=self.namespace, max_records=self.max_records, timeout=self.timeout
            )
        )


class SemanticConfig(Strict):
    """A semantic cache with the bundled embedder."""

    threshold: float | None = Field(None, gt=0, le=1, description="0.9 without error_rate")
    error_rate: float | None = Field(None, gt=0, lt=0.2, description="wrong answers per hit; learned")
    audit: float | None = Field(None, ge=0, le=1, description="part of the hits that are checked")
    max_entries: int = Field(50_000, ge=1, strict=True)
    max_chars: int = Field(1_000, ge=1, strict=True)
    ttl: Seconds | None = None
    path: str | None = Field(None, description="a file that keeps it across restarts")
    share: ShareConfig | None = Field(None, description="with other processes; null: with none")

    def make(self) -> SemanticCache:
        """A new one; here the file is read.

        Raises:
            ConfigError: the extra is not installed, or the file is of another embedder.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            given["share"] = None if self.share is None else self.share.make()
        except ConfigError as error:
            raise relocated(error, under="share", file=None) from None
        try:
            return SemanticCache(**given)
        except ImportError as missing:
            raise ConfigError(str(missing), key="embeddings") from None
