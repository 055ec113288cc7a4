"""Where processes count their limits together, as it is written in a file."""

from __future__ import annotations

from langchain_cluster.config.redis_address import SharedRedis
from langchain_cluster.model.strict import Seconds
from langchain_cluster.ports import LimitStore
from langchain_cluster.sharing.limits import SharedLimits


class LimitsConfig(SharedRedis):
    """Through Redis or Valkey; the address comes from a variable, as there is often a password in it."""

    timeout: Seconds = 0.3

    def make(self) -> LimitStore:
        """A new one; here the variable is read.

        Raises:
            ConfigError: it is not set or holds no address, or redis is not installed.
        """
        return self.connected(
            lambda url: SharedLimits.from_url(url, namespace=self.namespace, timeout=self.timeout)
        )
