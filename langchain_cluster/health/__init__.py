"""Whether endpoints are well: checks of several kinds, and how often they are made."""

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
