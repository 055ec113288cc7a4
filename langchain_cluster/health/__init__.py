"""Whether endpoints are well: checks of several kinds, and how often they are made.

Lazy: httpx brings its command line along, rich and click included, which nobody needs who checks
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING
from typing import Any as _Anything

if TYPE_CHECKING:
    from langchain_cluster.health.composite import All, Any, Quorum
    from langchain_cluster.health.http import HttpCheck
    from langchain_cluster.health.model import ModelCheck
    from langchain_cluster.health.periodic import Periodic
    from langchain_cluster.health.presets import ServerCheck, llama_cpp, ollama, sglang, tgi, vllm
    from langchain_cluster.health.tcp import TcpCheck
    from langchain_cluster.model.health import Health, HealthPolicy
    from langchain_cluster.ports import HealthCheck

__all__ = [
    "All",
    "Any",
    "Health",
    "HealthCheck",
    "HealthPolicy",
    "HttpCheck",
    "ModelCheck",
    "Periodic",
    "Quorum",
    "ServerCheck",
    "TcpCheck",
    "llama_cpp",
    "ollama",
    "sglang",
    "tgi",
    "vllm",
]

_HOMES = {
    "health.composite": ("All", "Any", "Quorum"),
    "health.http": ("HttpCheck",),
    "health.model": ("ModelCheck",),
    "health.periodic": ("Periodic",),
    "health.presets": ("ServerCheck", "llama_cpp", "ollama", "sglang", "tgi", "vllm"),
    "health.tcp": ("TcpCheck",),
    "model.health": ("Health", "HealthPolicy"),
    "ports": ("HealthCheck",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> _Anything:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"langchain_cluster.{home}"), name)
