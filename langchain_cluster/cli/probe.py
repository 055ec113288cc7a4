"""Does an endpoint answer? Asked the cheapest way that proves something.

An OpenAI-compatible server of one's own is asked which models it serves, which costs nothing and checks
address and key. Where that says nothing (no such page, or the model is not in the list), and with every
other provider, the endpoint is asked for one token, and that decides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import httpx

from langchain_cluster.cli.screen import one_line
from langchain_cluster.config.endpoint import EndpointConfig
from langchain_cluster.config.models import NO_KEY
from langchain_cluster.config.secrets import variable
from langchain_cluster.embeddings import ClusteredEmbeddings
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.model.endpoint import Endpoint, Role
from langchain_cluster.model.policy import Policy

LONGEST = 300  # characters of a reason: some servers answer an error with a page


@dataclass(frozen=True, slots=True)
class Finding:
    """What asking an endpoint showed; `detail` is what was asked, or why it failed."""

    id: str
    ok: bool
    seconds: float
    detail: str


class _Refused(Exception):
    """No use asking on."""


def probe_all(
    described: Sequence[EndpointConfig], endpoints: Sequence[Endpoint], *, timeout: float
) -> list[Finding]:
    """Ask all of them at once, each for at most `timeout` seconds per question."""
    with ThreadPoolExecutor(min(32, len(endpoints)), "probe") as pool:
        return list(pool.map(_probe, described, endpoints, repeat(timeout)))


def _probe(described: EndpointConfig, endpoint: Endpoint, timeout: float) -> Finding:
    began = time.monotonic()
    try:
        ok, detail = True, _listed(described, timeout) or _one_token(described, endpoint, timeout)
    except Exception as error:  # whatever it is, it is why this endpoint does not answer
        ok, detail = False, _reason(error, described)
    return Finding(endpoint.id, ok, time.monotonic() - began, detail)


def _listed(described: EndpointConfig, timeout: float) -> str | None:
    """What to say when the server lists the model; None when that is not the way to find out."""
    if described.provider != "openai" or described.address is None:
        return None
    key = NO_KEY if described.api_key_env is None else variable(described.api_key_env, "api_key_env")
    url = f"{described.address.rstrip('/')}/models"
    try:
        answer = httpx.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout)
    except httpx.TimeoutException:
        raise _Refused(f"no answer within {timeout:g} s") from None
    except httpx.HTTPError as error:
        raise _Refused(f"cannot be reached: {one_line(error)}") from None
    if answer.status_code in (401, 403):
        raise _Refused(f"the key is refused (HTTP {answer.status_code})")
    try:
        served = [model["id"] for model in answer.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return None
    return "serves the model" if described.model_name in served else None


def _one_token(described: EndpointConfig, endpoint: Endpoint, timeout: float) -> str:
    """Ask the way the cluster will, without second tries."""
    most = 1 if described.provider in ("openai", "anthropic") else None  # others may not know the argument
    policy = Policy(attempts=1, timeout=timeout, connect_timeout=timeout, idle_timeout=None)
    if Role.EMBEDDING in endpoint.roles:
        embeddings = ClusteredEmbeddings([endpoint], policy=policy, breaker=None)
        with embeddings.cluster:
            embeddings.embed_query("ping")
        return "answered"
    llm = ClusteredLLM([endpoint], policy=policy, breaker=None, max_tokens=most)
    with llm.cluster:
        llm.invoke("ping")
    return "answered"


def _reason(error: Exception, described: EndpointConfig) -> str:
    text = one_line(error)
    if described.api_key_env is not None:
        text = text.replace(variable(described.api_key_env, "api_key_env"), "***")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
