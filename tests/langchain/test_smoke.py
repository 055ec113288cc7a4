"""The smoke scripts of the two integrations hold, and tell when their promise is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.syntax import ROOT

BROKEN = """
import runpy, sys
from langchain_cluster.testing import SimulatedServer, faults
serve = SimulatedServer.start
def start(self):
    self.fail(faults.CutAfter(2))
    return serve(self)
SimulatedServer.start = start
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["langgraph", "create_agent"])
def test_the_promise_holds(name: str, tmp_path: Path) -> None:
    smoke = ROOT / "integrations" / name / "smoke.py"
    ran = subprocess.run(
        [sys.executable, str(smoke)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "requests: " in ran.stdout


@pytest.mark.parametrize("name", ["langgraph", "create_agent"])
def test_a_broken_promise_is_told(name: str, tmp_path: Path) -> None:
    smoke = ROOT / "integrations" / name / "smoke.py"
    ran = subprocess.run(
        [sys.executable, "-c", BROKEN, str(smoke)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode != 0, ran.stdout
