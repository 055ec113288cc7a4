"""Answers in the cache before anybody asks: of a list of prompts, or what another process is asked most."""

from langchain_cluster.warming.asking import Warmed, awarm, warm
from langchain_cluster.warming.hot import hottest, read_hot, warm_from, write_hot
from langchain_cluster.warming.prompts import Prompt, read_prompts

__all__ = [
    "Prompt",
    "Warmed",
    "awarm",
    "hottest",
    "read_hot",
    "read_prompts",
    "warm",
    "warm_from",
    "write_hot",
]
