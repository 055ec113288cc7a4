"""Imports point downwards. The layers are written down in pyproject.toml, [tool.importlinter]."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.syntax import ROOT

pytest.importorskip("importlinter")

PROBE = Path("langchain_cluster") / "errors.py"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    return subprocess.run(
        [*command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def copy_of_the_package(folder: Path) -> Path:
    shutil.copytree(ROOT / "langchain_cluster", folder / "langchain_cluster")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_point_downwards() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_that_points_upwards_is_found(tmp_path: Path) -> None:
    folder = copy_of_the_package(tmp_path)
    with (folder / PROBE).open("a") as module:
        module.write("\nimport langchain_cluster.model\n")
    done = lint_imports(folder)
    assert done.returncode == 1
    assert "langchain_cluster.errors is not allowed to import langchain_cluster.model" in done.stdout


def test_a_part_that_is_in_no_layer_is_found(tmp_path: Path) -> None:
    folder = copy_of_the_package(tmp_path)
    (folder / "langchain_cluster" / "helpers.py").write_text('"""Anything."""\n')
    done = lint_imports(folder)
    assert done.returncode == 1
    assert "langchain_cluster.helpers" in done.stdout


def test_the_pure_parts_are_the_ones_the_contract_names() -> None:
    """The contract lists what exists; a part added later must be added there too."""
    from tests.architecture.test_decisions_are_pure import PURE

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = next(contract for contract in contracts if contract["id"] == "pure")["source_modules"]
    there = [part for part in PURE if (ROOT / "langchain_cluster" / part).is_dir()]
    assert sorted(named) == sorted(f"langchain_cluster.{part}" for part in there)
