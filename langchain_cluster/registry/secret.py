"""Where a registry's token or password is read: a variable or a file, anew each time: it may be rotated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from langchain_cluster.errors import ConfigError, DiscoveryError


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by the name of its variable or the path of its file; its value is never kept or shown.

    Raises:
        ConfigError: both are given.
    """

    source: str
    what: str
    env: str | None = None
    file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.env is not None and self.file is not None:
            raise ConfigError(f"give {self.what}_env or {self.what}_file, not both", key=self.source)

    def read(self) -> str | None:
        """Its value now; None when none is wanted. Raises DiscoveryError when it cannot be had."""
        if self.env is not None:
            value = os.environ.get(self.env, "").strip()
            where = "the environment variable of its " + self.what
        elif self.file is not None:
            where = f"the file of its {self.what}, {self.file},"
            try:
                value = Path(self.file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise DiscoveryError(self.source, f"{where} cannot be read: {type(error).__name__}") from None
        else:
            return None
        if not value or not value.isascii() or not value.isprintable():
            raise DiscoveryError(self.source, f"{where} is not set, empty or no text")
        return value
