"""The pools that the standard suites are run against: endpoints of one simulated server."""

from __future__ import annotations

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langchain_cluster import Endpoint
from langchain_cluster.testing import SimulatedServer


def openai(server: SimulatedServer, name: str) -> Endpoint:
    """An endpoint that speaks OpenAI's format, as a user would write it."""
    return Endpoint(name, ChatOpenAI(base_url=server.openai_url(name), model="m", api_key="-"))


def anthropic(server: SimulatedServer, name: str) -> Endpoint:
    """An endpoint that speaks Anthropic's format, as a user would write it."""
    model: Any = ChatAnthropic(base_url=server.anthropic_url(name), model="m", api_key="-", max_tokens=1000)
    return Endpoint(name, model)
