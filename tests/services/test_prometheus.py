"""Prometheus itself over what we give it: its tool tests the rules, its server scrapes and evaluates them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import httpx
import pytest
import yaml
from langchain_core.messages import AIMessage

from langchain_cluster import ClusteredLLM, ClusterError, Endpoint, Price
from langchain_cluster.cache import MemoryCache
from langchain_cluster.telemetry import Telemetry, setup
from langchain_cluster.testing import ScriptedModel
from langchain_cluster.testing.server_process import free_port
from tests.services.registry_servers import ROOT, Folder, Server, program

pytest.importorskip("opentelemetry.exporter.prometheus")
pytestmark = pytest.mark.services
HERE = ROOT / "integrations" / "prometheus"
USED = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}


def promtool(*arguments: str, said: str | None = None) -> str:
    """What the tool prints; it fails the test where it finds a fault."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=said, capture_output=True, text=True, cwd=HERE, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_config_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", "rules.yml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_the_rules_come_to_what_they_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yml")


def test_every_rule_is_tested() -> None:
    rules = [
        rule
        for group in yaml.safe_load((HERE / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    told = (HERE / "rules.test.yml").read_text()
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert {alert for alert in alerts if f"alertname: {alert}" not in told} == set()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = setup(service_name="rules", prometheus="127.0.0.1:0", default=False)
    yield telemetry
    telemetry.shutdown()


def exposition(telemetry: Telemetry) -> str:
    assert telemetry.outlets is not None
    with urlopen(f"http://127.0.0.1:{telemetry.outlets.port}/metrics", timeout=10.0) as answer:
        return str(answer.read().decode())


def traffic(telemetry: Telemetry) -> tuple[ClusteredLLM, ClusteredLLM]:
    """A cluster that answers, half of it from a cache, and one whose calls fail."""
    said = AIMessage("one two", usage_metadata=USED)
    good = ClusteredLLM(
        [Endpoint("good", ScriptedModel(said), price=Price(2.0, 1.0))],
        cache=MemoryCache(),
        telemetry=telemetry,
    )
    bad = [Endpoint(name, ScriptedModel(ConnectionError("down"))) for name in ("bad-1", "bad-2")]
    return good, ClusteredLLM(bad, telemetry=telemetry)


def test_what_we_serve_has_no_fault_its_tool_finds(telemetry: Telemetry) -> None:
    good, bad = traffic(telemetry)
    good.invoke("hello")
    list(good.stream("another"))
    with pytest.raises(ClusterError):
        bad.invoke("hello")
    promtool("check", "metrics", said=exposition(telemetry))


class Prometheus(Server):
    """A real one that scrapes us five times a second, with our rules."""

    def __init__(self, folder: Folder, target: str) -> None:
        self.port = free_port()
        shutil.copy(HERE / "rules.yml", folder.path)
        config = yaml.safe_load((HERE / "prometheus.yml").read_text())
        config["global"] = {
            "scrape_interval": "200ms",
            "evaluation_interval": "200ms",
            "scrape_timeout": "200ms",
        }
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        place = folder.path / "prometheus.yml"
        place.write_text(yaml.safe_dump(config))
        url = f"http://127.0.0.1:{self.port}"
        command = [
            program("prometheus"), f"--config.file={place}", f"--storage.tsdb.path={folder.path / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]  # fmt: skip
        super().__init__(command, url, "/-/ready")

    def value(self, expression: str) -> float | None:
        """Of an expression, now."""
        found = self._ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """Names of the alerts that fire or wait to."""
        return {alert["labels"]["alertname"] for alert in self._ask("alerts")["alerts"]}

    def _ask(self, what: str, **query: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=query, timeout=10.0, trust_env=False)
        return answer.json()["data"]


def eventually(holds: Callable[[], bool], meanwhile: Callable[[], object], within: float = 60.0) -> None:
    ends = time.monotonic() + within
    while not holds():
        assert time.monotonic() < ends, "it does not come to hold"
        meanwhile()
        time.sleep(0.1)


def test_its_server_reads_us_and_evaluates_the_rules(telemetry: Telemetry) -> None:
    folder = Folder()
    assert telemetry.outlets is not None
    server = Prometheus(folder, f"127.0.0.1:{telemetry.outlets.port}")
    good, bad = traffic(telemetry)
    asked = iter(range(10_000))

    def calls() -> None:
        question = f"{next(asked)}"
        good.invoke(question)
        good.invoke(question)
        with pytest.raises((ClusterError, ConnectionError)):
            bad.invoke(question)

    def near(rule: str, wanted: float, within: float) -> Callable[[], bool]:
        def holds() -> bool:
            value = server.value(rule)
            return value is not None and abs(value - wanted) <= within

        return holds

    try:
        server.start().wait_ready()
        eventually(near("langchain_cluster:failures:ratio5m", 1 / 3, 0.05), calls)
        eventually(near("langchain_cluster:cache_hits:ratio5m", 0.5, 0.05), calls)
        eventually(lambda: (server.value("langchain_cluster:cost_usd:increase1h") or 0) > 1, calls)
        eventually(lambda: (server.value("langchain_cluster:request_seconds:p95_5m") or 0) > 0, calls)
        eventually(lambda: "LangchainClusterCallsFail" in server.firing(), calls)
        for llm in (good, bad):
            for member in llm.cluster.pool:
                llm.cluster.pool.drain(member.endpoint.id)
        eventually(lambda: "LangchainClusterRosterEmpty" in server.firing(), lambda: None)
    finally:
        server.kill()
        folder.close()
