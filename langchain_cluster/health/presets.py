"""What the usual servers tell of themselves: where they say that they are well, and how busy they are.

Each preset asks the health page, and when that is well the metrics page, from which it reads the calls
that run, those that wait, and how full the cache of keys and values is. Metrics are a bonus: a server
that has them switched off is healthy all the same, and reports no load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_cluster.errors import ConfigError
from langchain_cluster.health.address import base_of
from langchain_cluster.health.http import NETWORK, HttpCheck, Pages
from langchain_cluster.health.prometheus import Sample, samples
from langchain_cluster.model.endpoint import Endpoint, Load
from langchain_cluster.model.health import Health


@dataclass(frozen=True, slots=True)
class Gauges:
    """The names a server's metrics have; of several, the first that is there. Ratios are 0-1."""

    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    cache_ratio: tuple[str, ...] = ()

    def read(self, text: str) -> Load | None:
        """The load a metrics page tells of; None when it tells of none.

        Calls are summed over the models and engines of the server, of their caches the fullest counts.
        """
        found = samples(text, {*self.running, *self.waiting, *self.cache_ratio})
        running = _first(found, self.running)
        waiting = _first(found, self.waiting)
        ratios = _first(found, self.cache_ratio)
        if not (running or waiting or ratios):
            return None
        return Load(
            connections=_whole(running),
            queued=_whole(waiting),
            gpu_cache_percent=round(min(100.0, 100.0 * max(ratios)), 3) if ratios else None,
        )


def _first(found: Mapping[str, list[Sample]], names: tuple[str, ...]) -> list[float]:
    for name in names:
        # SGLang gives the whole under priority="" and its parts under the priorities there are.
        values = [s.value for s in found.get(name, ()) if not s.labels.get("priority") and s.value >= 0]
        if values:
            return values
    return []


def _whole(values: list[float]) -> int | None:
    return round(sum(values)) if values else None


class ServerCheck:
    """A health page, and the load from a metrics page. Made by the presets; see `HttpCheck`.

    Args:
        health: the check of the health page.
        gauges: what the metrics are called; None asks for none.
        metrics: path of the metrics page.
        headers: of the request for the metrics.
    """

    def __init__(
        self,
        name: str,
        health: HttpCheck,
        gauges: Gauges | None = None,
        *,
        metrics: str = "/metrics",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.health, self.gauges, self.metrics = name, health, gauges, metrics
        self.timeout = health.timeout * (1 if gauges is None else 2)
        self._pages = Pages(headers)

    def check(self, endpoint: Endpoint) -> Health:
        """Ask whether it is well, then how busy it is."""
        health, base, began = self.health.check(endpoint), base_of(endpoint), time.monotonic()
        if not health.ok or base is None or self.gauges is None:
            return health
        try:
            page = self._pages.get("GET", base, self.metrics, self.health.timeout)
        except NETWORK:
            return replace(health, reason=f"{health.reason}; no metrics")
        return self._with_load(health, page.status, page.text, began)

    async def acheck(self, endpoint: Endpoint) -> Health:
        """The same, awaited."""
        health, base, began = await self.health.acheck(endpoint), base_of(endpoint), time.monotonic()
        if not health.ok or base is None or self.gauges is None:
            return health
        try:
            page = await self._pages.aget("GET", base, self.metrics, self.health.timeout)
        except NETWORK:
            return replace(health, reason=f"{health.reason}; no metrics")
        return self._with_load(health, page.status, page.text, began)

    def _with_load(self, health: Health, status: int, text: str, began: float) -> Health:
        load = self.gauges.read(text) if self.gauges is not None and status == 200 else None
        seconds = health.seconds + time.monotonic() - began
        if load is None:
            why = "without a load in it" if status == 200 else f"answered {status}"
            return replace(health, reason=f"{health.reason}; {self.metrics} {why}", seconds=seconds)
        return replace(health, load=load, seconds=seconds)

    def close(self) -> None:
        """Close the connections."""
        self.health.close()
        self._pages.close()

    def __repr__(self) -> str:
        return f"{self.name}(timeout={self.health.timeout:g})"


VLLM = Gauges(
    running=("vllm:num_requests_running",),
    waiting=("vllm:num_requests_waiting",),
    cache_ratio=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),  # the old name until 0.10
)
SGLANG = Gauges(
    running=("sglang:num_running_reqs",),
    waiting=("sglang:num_queue_reqs",),
    cache_ratio=("sglang:token_usage",),
)
LLAMA_CPP = Gauges(
    running=("llamacpp:requests_processing",),
    waiting=("llamacpp:requests_deferred",),
    cache_ratio=("llamacpp:kv_cache_usage_ratio",),  # builds of 2025 and later have none
)
TGI = Gauges(running=("tgi_batch_current_size",), waiting=("tgi_queue_size",))


def vllm(*, timeout: float = 1.0, load: bool = True, headers: Mapping[str, str] | None = None) -> ServerCheck:
    """vLLM: `/health` says whether the engine lives; running, waiting and cache from `/metrics`."""
    return _preset("vllm", "/health", VLLM, timeout, load, headers)


def sglang(
    *, timeout: float = 5.0, load: bool = True, headers: Mapping[str, str] | None = None
) -> ServerCheck:
    """SGLang: `/health`, and with `--enable-metrics` running, waiting and cache from `/metrics`.

    Its `/health` has the model make a token when nothing else runs, which takes its time: hence the
    longer `timeout`. `SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=false` on the server spares the token.
    """
    return _preset("sglang", "/health", SGLANG, timeout, load, headers)


def llama_cpp(
    *, timeout: float = 1.0, load: bool = True, headers: Mapping[str, str] | None = None
) -> ServerCheck:
    """llama.cpp's server: `/health` (503 while it loads), and with `--metrics` running and waiting."""
    return _preset("llama_cpp", "/health", LLAMA_CPP, timeout, load, headers)


def tgi(*, timeout: float = 1.0, load: bool = True, headers: Mapping[str, str] | None = None) -> ServerCheck:
    """Text Generation Inference: `/health`; the batch that runs and the queue from `/metrics`."""
    return _preset("tgi", "/health", TGI, timeout, load, headers)


def ollama(*, timeout: float = 1.0, headers: Mapping[str, str] | None = None) -> ServerCheck:
    """Ollama: `/api/version`. It has no metrics and no health page, so it never reports a load.

    (`/api/ps` lists the models in memory, which says nothing of how busy they are.)
    """
    return _preset("ollama", "/api/version", None, timeout, False, headers)


def _preset(
    name: str,
    path: str,
    gauges: Gauges | None,
    timeout: float,
    load: bool,
    headers: Mapping[str, str] | None,
) -> ServerCheck:
    if load not in (True, False):
        raise ConfigError(f"{load!r} is neither true nor false", key=f"{name}.load")
    known: dict[str, Any] = {"timeout": timeout, "headers": headers}
    return ServerCheck(name, HttpCheck(path, **known), gauges if load else None, headers=headers)
