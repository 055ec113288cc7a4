"""integrations/kubernetes: the promise holds, a chart whose parts do not fit is told, and the app answers."""

from __future__ import annotations

import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("dns")
pytest.importorskip("langchain_openai")

from tests.architecture.syntax import ROOT

HERE = ROOT / "integrations" / "kubernetes"


def has_other_loopbacks() -> bool:
    try:
        with socket.create_server(("127.0.0.3", 0)):
            return True
    except OSError:
        return False


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HERE, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("__pycache__")))


def run(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", str(script)], capture_output=True, text=True, timeout=120, check=False
    )


def break_in(copy: Path, file: str, old: str, new: str) -> dict[str, Any]:
    """Replace that in a template of the copy; what `manifests.py` beside it has to offer."""
    path = copy / "chart" / "templates" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return runpy.run_path(str(copy / "manifests.py"))


@pytest.mark.skipif(not has_other_loopbacks(), reason="127.0.0.3 is not there: see the README of it")
def test_the_promise_holds() -> None:
    done = run(HERE / "smoke.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("models.yaml", "  clusterIP: None\n", "", "not headless"),
        (
            "models.yaml",
            "selector: { app: {{ .Release.Name }}-models }",
            "selector: { app: x }",
            "selects no",
        ),
        ("models.yaml", "targetPort: http", "targetPort: grpc", "leads to a port"),
        ("models.yaml", '"{{ .Values.models.port }}"]', '"9"]', "does not listen"),
        ("app.yaml", "-models.{{", "-model.{{", "nobody answers to demo-model.default.svc.cluster.local"),
        ("app.yaml", "      port: {{ .Values.models.port }}", "      port: 1", "another port"),
        ("app.yaml", "path: /ready", "path: /readyz", "does not answer its readinessProbe"),
        ("app.yaml", "value: /etc/llm/cluster.yaml", "value: /etc/cluster.yaml", "nothing is mounted"),
        ("app.yaml", "name: CLUSTER_CONFIG", "name: CONFIG", "does not read CONFIG"),
        ("app.yaml", "keep: /var/cache/llm/", "keep: /", "nothing can be written"),
        ("app.yaml", "0.0.0.0", "127.0.0.1", "cannot be reached"),
    ],
)
def test_parts_that_do_not_fit_are_told(copy: Path, file: str, old: str, new: str, told: str) -> None:
    chart = break_in(copy, file, old, new)
    assert any(told in problem for problem in chart["problems"](chart["manifests"]()))


def test_a_broken_promise_ends_with_1(copy: Path) -> None:
    break_in(copy, "models.yaml", "  clusterIP: None\n", "")
    done = run(copy / "smoke.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 problems" in done.stdout


def test_template_language_that_is_not_understood_is_told(copy: Path) -> None:
    chart = break_in(copy, "app.yaml", "data:", 'data: # {{ include "x" . }}')
    with pytest.raises(ValueError, match="not understood"):
        chart["filled"]()


@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm on this machine")
def test_helm_renders_the_same() -> None:
    chart = runpy.run_path(str(HERE / "manifests.py"))
    ours, helms = (
        {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each}
        for text in (chart["filled"](), chart["rendered"]())
    )
    assert ours == helms


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app, as uvicorn would run it, over endpoints that need no server."""
    testclient = pytest.importorskip("starlette.testclient")
    config = tmp_path / "cluster.yaml"
    config.write_text("endpoints: [{id: pod, model: 'scripted:fox', params: {script: ['I am Fox.']}}]")
    monkeypatch.setenv("CLUSTER_CONFIG", str(config))
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile((HERE / "app.py").read_text(), str(HERE / "app.py"), "exec"), names)
    with testclient.TestClient(names["app"]) as client:
        client.llm = names["llm"]
        yield client


def test_the_app_answers_and_says_who_did(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert (client.get("/ready").status_code, client.get("/ready").json()) == (200, {"endpoints": 1})
    answer = client.post("/ask", json={"question": "Who is there?"}).json()
    assert answer == {"answer": "I am Fox.", "endpoint": "pod"}


def test_the_app_is_not_ready_while_nobody_is_there(client: Any) -> None:
    client.llm.cluster.pool.drain("pod")
    assert (client.get("/ready").status_code, client.get("/health").status_code) == (503, 200)
    refused = client.post("/ask", json={"question": "Who is there?"})
    assert refused.status_code == 503
    assert refused.json()["error"]
