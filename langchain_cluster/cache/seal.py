"""Was this value written by one of us? A seal behind each, where others may write into the same server.

The first 16 bytes of HMAC-SHA256 (RFC 2104) over the key and the value: an entry of one key is none under
another. It stands behind the value, for the tags of an answer are read off its beginning.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

LENGTH = 16  # bytes
LEAST = 16  # bytes of a secret


class Seal:
    """Seals with a secret; without one, values are as they are, and it `seals` nothing."""

    def __init__(self, secret: bytes | None) -> None:
        self._secret, self.seals = secret, secret is not None

    def _of(self, key: str, value: bytes) -> bytes:
        assert self._secret is not None
        name = key.encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, b"%d|%b|%b" % (len(name), name, value), "sha256")[:LENGTH]

    def sealed(self, key: str, value: bytes) -> bytes:
        """The value as it is written."""
        return value if self._secret is None else value + self._of(key, value)

    def all_sealed(self, items: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Several of them."""
        return items if self._secret is None else {key: self.sealed(key, raw) for key, raw in items.items()}

    def opened(self, key: str, raw: bytes | None) -> bytes | None:
        """The value that was written, None for one that nobody of us has."""
        if raw is None or self._secret is None:
            return raw
        value = raw[:-LENGTH]
        return value if hmac.compare_digest(self._of(key, value), raw[-LENGTH:]) else None
