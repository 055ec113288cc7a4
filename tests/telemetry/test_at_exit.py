"""A program that ends without a word has sent what it had to tell, and says nothing of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("opentelemetry.proto")

from tests.telemetry import receiver

PROGRAM = """
import sys
from langchain_cluster import ClusteredLLM, Endpoint, telemetry
from langchain_cluster.testing import ScriptedModel

telemetry.setup(service_name="short", otlp=sys.argv[1])
ClusteredLLM([Endpoint("a", ScriptedModel(["hi"]))]).invoke("hello")
"""


def ended(address: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, address], capture_output=True, text=True, timeout=120, check=True
    )


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_spans_and_metrics_arrive_though_nobody_shut_down(protocol: str) -> None:
    with getattr(receiver, protocol)() as got:
        done = ended(got.url)
    assert (done.stdout, done.stderr) == ("", "")
    assert len(got.spans) >= 2
    assert got.metric_names


def test_a_collector_that_is_not_there_is_no_error_of_the_program() -> None:
    done = ended("http://127.0.0.1:9")
    assert "Traceback" not in done.stderr
    assert "atexit" not in done.stderr
