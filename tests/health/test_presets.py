"""The presets against what each server's pages say (metrics as the servers write them)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import respx

from langchain_cluster import Cluster, Endpoint, Load
from langchain_cluster.health import Health, HealthPolicy, llama_cpp, ollama, sglang, tgi, vllm
from langchain_cluster.health.presets import SGLANG, VLLM
from langchain_cluster.health.prometheus import samples
from langchain_cluster.testing import ScriptedModel

VLLM_V1 = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 12662.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen2.5-7B-Instruct"} 7.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen2.5-7B-Instruct"} 5.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen2.5-7B-Instruct"} 2.0
vllm:num_requests_waiting{engine="1",model_name="Qwen/Qwen2.5-7B-Instruct"} 0.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen2.5-7B-Instruct"} 0.40625
vllm:kv_cache_usage_perc{engine="1",model_name="Qwen/Qwen2.5-7B-Instruct"} 0.1875
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="Qwen/Qwen2.5-7B-Instruct"} 91.0
"""
VLLM_V0 = """\
vllm:num_requests_running{model_name="m"} 3.0
vllm:num_requests_swapped{model_name="m"} 0.0
vllm:num_requests_waiting{model_name="m"} 1.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.5
vllm:cpu_cache_usage_perc{model_name="m"} 0.9
"""
SGLANG_TEXT = """\
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 162.0
# HELP sglang:num_used_tokens The number of used tokens
# TYPE sglang:num_used_tokens gauge
sglang:num_used_tokens{model_name="meta-llama/Llama-3.1-8B-Instruct"} 123859.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
"""
SGLANG_PRIORITIES = """\
sglang:num_queue_reqs{engine_type="unified",model_name="m",priority="",tp_rank="0"} 5.0
sglang:num_queue_reqs{engine_type="unified",model_name="m",priority="0",tp_rank="0"} 3.0
sglang:num_queue_reqs{engine_type="unified",model_name="m",priority="10",tp_rank="0"} 2.0
"""
LLAMA_CPP_TEXT = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 512
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 4
"""
TGI_TEXT = """\
# TYPE tgi_request_count counter
tgi_request_count 253
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 8
# TYPE tgi_queue_size gauge
tgi_queue_size 5
# TYPE tgi_request_duration histogram
tgi_request_duration_bucket{le="1"} 41
tgi_request_duration_sum 40.5
"""

CASES = [
    (vllm, VLLM_V1, Load(connections=12, queued=2, gpu_cache_percent=40.625)),
    (vllm, VLLM_V0, Load(connections=3, queued=1, gpu_cache_percent=50.0)),
    (sglang, SGLANG_TEXT, Load(connections=162, queued=2826, gpu_cache_percent=28.0)),
    (sglang, SGLANG_PRIORITIES, Load(queued=5)),
    (llama_cpp, LLAMA_CPP_TEXT, Load(connections=2, queued=4)),
    (
        llama_cpp,
        LLAMA_CPP_TEXT + "llamacpp:kv_cache_usage_ratio 0.25\n",  # builds before 2025
        Load(connections=2, queued=4, gpu_cache_percent=25.0),
    ),
    (tgi, TGI_TEXT, Load(connections=8, queued=5)),
]
ENDPOINT = Endpoint("x", url="http://gpu-9:8000/v1")


async def look(awaited: bool, check: Any) -> Health:
    return await check.acheck(ENDPOINT) if awaited else await asyncio.to_thread(check.check, ENDPOINT)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("preset", "text", "load"), CASES)
async def test_the_load_is_read(preset: Any, text: str, load: Load, awaited: bool) -> None:
    with respx.mock:
        respx.get("http://gpu-9:8000/health").mock(httpx.Response(200))
        respx.get("http://gpu-9:8000/metrics").mock(httpx.Response(200, text=text))
        health = await look(awaited, preset())
    assert health.ok
    assert health.load == load


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(404), "/metrics answered 404"),
        (httpx.Response(200, text="<html>"), "/metrics without a load in it"),
        (httpx.ConnectError("refused"), "no metrics"),
    ],
)
async def test_a_server_without_metrics_is_healthy_and_reports_no_load(
    awaited: bool, answer: Any, why: str
) -> None:
    with respx.mock:
        respx.get("http://gpu-9:8000/health").mock(httpx.Response(200))
        metrics = respx.get("http://gpu-9:8000/metrics")
        metrics.mock(side_effect=answer) if isinstance(answer, Exception) else metrics.mock(answer)
        health = await look(awaited, vllm())
    assert (health.ok, health.reason, health.load) == (True, f"/health answered 200; {why}", None)


@pytest.mark.parametrize("awaited", [False, True])
async def test_the_metrics_of_an_ill_server_are_not_asked_for(awaited: bool) -> None:
    with respx.mock(assert_all_called=False) as router:
        router.get("http://gpu-9:8000/health").mock(httpx.Response(503))
        metrics = router.get("http://gpu-9:8000/metrics").mock(httpx.Response(200, text=VLLM_V1))
        health = await look(awaited, vllm())
    assert (health.ok, health.load, metrics.called) == (False, None, False)


@pytest.mark.parametrize("awaited", [False, True])
async def test_ollama_has_no_load_to_report(awaited: bool) -> None:
    with respx.mock:
        respx.get("http://gpu-9:8000/api/version").mock(httpx.Response(200, json={"version": "0.12.0"}))
        health = await look(awaited, ollama())
    assert (health.ok, health.load) == (True, None)


@pytest.mark.parametrize("awaited", [False, True])
async def test_headers_go_to_both_pages_and_the_load_can_be_left_out(awaited: bool) -> None:
    with respx.mock:
        key = {"authorization": "Bearer k"}
        respx.get("http://gpu-9:8000/health", headers=key).mock(httpx.Response(200))
        respx.get("http://gpu-9:8000/metrics", headers=key).mock(httpx.Response(200, text=VLLM_V1))
        assert (await look(awaited, vllm(headers=key))).load is not None
    with respx.mock:
        respx.get("http://gpu-9:8000/health").mock(httpx.Response(200))
        assert (await look(awaited, vllm(load=False))).reason == "/health answered 200"


def test_both_names_of_the_cache_are_not_added_up() -> None:
    load = VLLM.read("vllm:gpu_cache_usage_perc 0.7\nvllm:kv_cache_usage_perc 0.1\n")
    assert load == Load(gpu_cache_percent=10.0)


def test_nonsense_numbers_are_left_out() -> None:
    text = "sglang:num_running_reqs 3\nsglang:num_running_reqs NaN\n"
    text += "sglang:num_queue_reqs -1\nsglang:token_usage 1.7\n"
    assert SGLANG.read(text) == Load(connections=3, gpu_cache_percent=100.0)
    assert SGLANG.read("") is None


def test_the_text_format_is_read_with_tolerance() -> None:
    text = (
        '# a 1\n\n  a 1\na{} 2\na{x="y"} 3 1712000000000\na{x="}",y="\\"q\\" \\\\ \\n",} 4e0 # {t="1"} 5\r\n'
        'a{x="y" 5\na\na one\na{x="open\na +Inf\nab 6\n'
    )
    found = samples(text, {"a"})["a"]
    assert [sample.value for sample in found] == [1, 2, 3, 4]
    assert found[3].labels == {"x": "}", "y": '"q" \\ \n'}


def test_a_line_without_an_end_costs_no_time() -> None:
    assert samples("a" + '{x="' * 100_000, {"a"}) == {}
    assert samples("a{" + '"\\' * 100_000, {"a"}) == {}


def test_the_pool_learns_the_load() -> None:
    from tests.health.test_cluster import wait

    with respx.mock(assert_all_called=False) as router:
        router.get("http://gpu-9:8000/health").mock(httpx.Response(200))
        router.get("http://gpu-9:8000/metrics").mock(httpx.Response(200, text=VLLM_V1))
        endpoint = Endpoint("x", ScriptedModel("hi"), url="http://gpu-9:8000/v1")
        with Cluster([endpoint], health=HealthPolicy(check="vllm", interval=0.05)) as cluster:
            wait(lambda: cluster.pool.get("x").load is not None)
            assert cluster.pool.get("x").load == Load(connections=12, queued=2, gpu_cache_percent=40.625)
