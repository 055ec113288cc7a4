"""What lies in integrations/ to be deployed asks for what is told, by the names it is told by."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from langchain_cluster.model.call import Verdict
from langchain_cluster.telemetry import names
from langchain_cluster.telemetry.instruments import COUNTERS, HISTOGRAMS
from langchain_cluster.telemetry.metrics import _OUTCOMES
from tests.architecture.syntax import ROOT
from tests.telemetry import receiver

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
HERE = ROOT / "integrations"
RULES = yaml.safe_load((HERE / "prometheus" / "rules.yml").read_text())["groups"]
DASHBOARD = json.loads((HERE / "grafana" / "dashboards" / "langchain-cluster.json").read_text())
OUTCOMES = {"ok", "hit", "degraded", "failed", "abandoned", *_OUTCOMES.values()}
METRIC = re.compile(r"\b(?:langchain_cluster|gen_ai)_\w+(?=[{\[\s)]|$)")
RECORDED = re.compile(r"\blangchain_cluster:[\w:]+")


def underscored(name: str) -> str:
    return re.sub(r"\W", "_", name)


def known_metrics() -> set[str]:
    """Every metric as Prometheus calls it."""
    metrics = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
    counters = {name for name, _, _ in COUNTERS} | {names.METRIC_DROPPED}
    histograms = {name: unit for name, unit, _, _ in HISTOGRAMS}
    found = {f"{underscored(name)}_total" for name in counters}
    for name, unit in histograms.items():
        base = underscored(name) + ("_seconds" if unit == "s" else "")
        found |= {f"{base}_{part}" for part in ("bucket", "sum", "count")}
    for name in metrics - counters - set(histograms):
        found.add(underscored(name) + ("_seconds" if name == names.METRIC_ROSTER_AGE else ""))
    return found


def known_labels() -> set[str]:
    return {underscored(value) for name, value in vars(names).items() if name.isupper()} | {"job", "le"}


def expressions() -> list[str]:
    rules = [rule["expr"] for group in RULES for rule in group["rules"]]
    return rules + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_made_of_what_there_is(expression: str) -> None:
    bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", " ", expression)
    assert set(METRIC.findall(bare)) <= known_metrics()
    recorded = {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}
    assert set(RECORDED.findall(bare)) <= recorded
    labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    labels |= {
        label.strip() for inside in re.findall(r"\bby \(([^)]*)\)", expression) for label in inside.split(",")
    }
    assert labels <= known_labels()
    for name, values in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"$]+)"', expression):
        if name == underscored(names.LABEL_OUTCOME):
            assert set(values.split("|")) <= OUTCOMES
        elif name == underscored(names.VERDICT):
            assert set(values.split("|")) <= {verdict.value for verdict in Verdict}
    assert expression.count("(") == expression.count(")")


def test_every_alert_says_how_bad_it_is_and_what() -> None:
    alerts = [rule for group in RULES for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) >= 5
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket")
        told = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert set(told) <= known_labels(), rule["alert"]


def test_panels_have_numbers_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    sources = yaml.safe_load(
        (HERE / "grafana" / "provisioning" / "datasources" / "datasources.yml").read_text()
    )
    known = {source["uid"] for source in sources["datasources"]}
    assert {panel["datasource"]["uid"] for panel in panels} <= known


@pytest.mark.parametrize("file", sorted(HERE.glob("*/compose.y*ml")), ids=lambda path: path.parent.name)
def test_a_compose_file_mounts_what_is_there(file: Path) -> None:
    for service in yaml.safe_load(file.read_text())["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (file.parent / volume.partition(":")[0]).exists(), volume


def test_a_collectors_pipelines_are_made_of_its_parts() -> None:
    config = yaml.safe_load((HERE / "jaeger" / "collector.yml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for part in ("receivers", "processors", "exporters"):
            assert set(pipeline[part]) <= set(config[part])


def smoke(script: Path, *arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_a_smoke_script_holds_and_tells_when_its_promise_is_broken(name: str, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    done = smoke(HERE / name / "smoke.py")
    assert done.returncode == 0, done.stdout + done.stderr
    for folder in ("prometheus", "grafana"):
        shutil.copytree(HERE / folder, tmp_path / folder)
    told = {"prometheus": "rules.yml", "grafana": "dashboards/langchain-cluster.json"}[name]
    broken = tmp_path / name / told
    broken.write_text(broken.read_text().replace("langchain_cluster_in_flight", "langchain_cluster_gone"))
    broken.write_text(broken.read_text().replace("langchain_cluster_queue_depth", "langchain_cluster_gone"))
    done = smoke(tmp_path / name / "smoke.py")
    assert done.returncode == 1
    assert "langchain_cluster_gone" in done.stdout


def test_the_smoke_script_of_jaeger_needs_a_collector() -> None:
    with receiver.http() as received:
        done = smoke(HERE / "jaeger" / "smoke.py", received.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [span.name for span in received.spans].count("langchain_cluster chat") == 2
    assert smoke(HERE / "jaeger" / "smoke.py", received.url).returncode == 1
