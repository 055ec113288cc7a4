"""`audit`: what it says of a whole trail and a broken one, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

typer_testing = pytest.importorskip("typer.testing")

from langchain_cluster.cli.app import make_app  # noqa: E402
from langchain_cluster.telemetry import AuditLog  # noqa: E402


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path / "audit.jsonl", chain=True)
    for tenant in ("acme", "acme", "[red]globex"):
        log.put({"tenant": tenant, "outcome": "ok", "cost_usd": 0.25, "input_tokens": 7})
    log.close()
    return log.path


def run(*words: str) -> tuple[int, str]:
    done = typer_testing.CliRunner().invoke(make_app(), ["audit", *words])
    return done.exit_code, done.output


def test_a_whole_trail(trail: Path) -> None:
    code, told = run("verify", str(trail))
    assert code == 0
    assert "3 lines are whole" in told


def test_a_trail_that_was_changed(trail: Path) -> None:
    trail.write_text(trail.read_text().replace("acme", "evil", 1))
    code, told = run("verify", str(trail))
    assert code == 1
    assert "the line was changed" in told
    code, told = run("verify", str(trail), "--json")
    assert (code, json.loads(told)["ok"]) == (1, False)


def test_a_trail_whose_end_was_cut_off(trail: Path) -> None:
    _, told = run("verify", str(trail), "--json")
    last = json.loads(told)["last"]
    assert run("verify", str(trail), "--expect", last)[0] == 0
    trail.write_text("".join(trail.read_text().splitlines(keepends=True)[:-1]))
    code, told = run("verify", str(trail))
    assert code == 1
    assert "its end is missing" in told
    trail.with_name("audit.jsonl.head").unlink()  # by somebody who knows of it
    code, told = run("verify", str(trail))
    assert code == 0
    assert "would not show" in told
    code, told = run("verify", str(trail), "--expect", last)
    assert code == 1
    assert "missing" in told


def test_its_last_lines(trail: Path) -> None:
    code, told = run("tail", str(trail), "-n", "2")
    assert code == 0
    assert [json.loads(line)["number"] for line in told.splitlines()] == [2, 3]
    _, told = run("tail", str(trail), "--json")
    assert len(json.loads(told)) == 3


def test_its_totals(trail: Path) -> None:
    code, told = run("sum", str(trail))
    assert code == 0
    assert "[red]globex" in told
    _, told = run("sum", str(trail), "--json", "--by", "tenant")
    assert json.loads(told)["acme"]["cost_usd"] == 0.5


def test_wrong_use(trail: Path) -> None:
    assert run("sum", str(trail), "--by", "prompt")[0] == 2
    assert run("verify", "/nowhere/audit.jsonl")[0] == 2
    for action in ("verify", "tail", "sum"):
        code, told = run(action, str(trail.parent))
        assert (code, "is a folder" in told) == (2, True)


def test_lines_that_somebody_made_are_no_reason_to_stop(trail: Path) -> None:
    with trail.open("a") as file:
        file.write('[1]\nno line\n{"outcome": ["ok"], "tenant": {"a": 1}, "cost_usd": "x"}\n')
    code, told = run("sum", str(trail), "--json")
    assert (code, json.loads(told)["acme"]["calls"]) == (0, 2)
    assert run("tail", str(trail))[0] == 0
    assert run("verify", str(trail))[0] == 1
