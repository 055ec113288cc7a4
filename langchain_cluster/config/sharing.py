"""Where processes tell each other what they see, as it is written in a file."""

from __future__ import annotations

from pydantic import Field

from langchain_cluster.config.redis_address import SharedRedis
from langchain_cluster.model.strict import Seconds
from langchain_cluster.ports import Sharing
from langchain_cluster.sharing.redis import RedisSharing


class SharingConfig(SharedRedis):
    """Through Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    max_percent: float = Field(50.0, ge=0, le=100, description="of the pool that may be out for hearsay")
    timeout: Seconds = 0.5

    def make(self) -> Sharing:
        """A new one; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        return self.connected(
            lambda url: RedisSharing(
                url, namespace=self.namespace, max_percent=self.max_percent, timeout=self.timeout
            )
        )
