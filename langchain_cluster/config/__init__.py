"""A cluster as a file: what it may say, how it is read, and what is built of it.

Names are looked up when they are asked for: `import langchain_cluster` reads no YAML library.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_cluster.config.build import cluster_arguments
    from langchain_cluster.config.describe import describe
    from langchain_cluster.config.load import load
    from langchain_cluster.config.schema import ClusterConfig, json_schema

_HOME = {
    "ClusterConfig": "schema",
    "cluster_arguments": "build",
    "describe": "describe",
    "json_schema": "schema",
    "load": "load",
}

__all__ = ["ClusterConfig", "cluster_arguments", "describe", "json_schema", "load"]


class _Package(ModuleType):
    """`load` and `describe` are functions and submodules: importing the one must not hide the other."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
