"""`telemetry:` in a config file: opened with the cluster, ended with it, and wrong values told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from langchain_cluster import ClusteredLLM, ConfigError
from tests.telemetry import receiver

ONE = {"endpoints": [{"id": "a", "model": "scripted:fox"}]}


def test_everything_goes_where_the_file_says(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    trail = tmp_path / "audit.jsonl"
    with receiver.http() as received:
        telemetry = {
            "service_name": "from-a-file",
            "otlp": received.url,
            "prometheus": "127.0.0.1:0",
            "audit": {"path": str(trail), "chain": True},
            "agents": ["planner"],
            "content": True,
            "max_content": 3,
        }
        llm = ClusteredLLM.from_config({**ONE, "telemetry": telemetry})
        before = set(threading.enumerate())
        assert llm.cluster.telemetry.outlets.port is None, "nothing is opened by building"
        with llm.cluster:
            llm.invoke("hello")
            assert llm.cluster.telemetry.outlets.port is not None
        assert received.services == {"from-a-file"}
        attempt = receiver.plain(received.spans[1].attributes)
        assert "hel… [2 characters more]" in attempt["gen_ai.input.messages"]
        assert "langchain_cluster.requests" in received.metric_names
    assert '"outcome":"ok"' in trail.read_text()
    kept = [t.name for t in set(threading.enumerate()) - before if t.name.startswith("Otel")]
    assert kept == [], "and nothing stays open"


def test_a_port_that_is_taken_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("prometheus_client")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        llm = ClusteredLLM.from_config({**ONE, "telemetry": {"prometheus": place}})
        assert llm.invoke("hello").text
        llm.cluster.close()
    assert "telemetry cannot be started" in caplog.text


@pytest.mark.parametrize(
    ("telemetry", "told"),
    [
        ({"otlp": "localhost"}, "telemetry.otlp: 'localhost' is no collector"),
        ({"prometheus": 99_999}, "telemetry.prometheus: 99999 is no place"),
        ({"audit": {"path": "/proc/x/audit"}}, "telemetry.audit.path: /proc/x"),
        ({"audit": {"path": "a", "keep": 0}}, "telemetry.audit.keep"),
        ({"otpl": True}, "otpl"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(telemetry: Any, told: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        ClusteredLLM.from_config({**ONE, "telemetry": telemetry})
    assert told in str(wrong.value)
