"""`bench`: every call is made past the cache, and what is shown is what happened."""

import json
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from typer.testing import CliRunner, Result

from langchain_cluster.cli.app import make_app
from langchain_cluster.cli.bench import _quantiles

TWO = """
endpoints: [{id: a, model: 'scripted:fox'}, {id: b, model: 'scripted:owl'}]
balancer: round_robin
cache: memory
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["bench", *arguments])


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(TWO)
    return str(path)


def test_every_call_reaches_an_endpoint_though_all_ask_the_same(two: str) -> None:
    done = run(two, "--calls", "20", "--callers", "4", "--prompt", "hi", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["calls"], told["answered"], told["failed"], told["attempts"]) == (20, 20, 0, 20)
    shares = [own["answered"] for own in told["endpoints"].values()]
    assert list(told["endpoints"]) == ["a", "b"]
    assert sum(shares) == 20
    assert min(shares) > 0
    assert 0 < told["first_token"]["p50"] <= told["whole"]["p99"]
    assert told["errors"] == {}


def test_the_tables_name_everybody(two: str) -> None:
    done = run(two, "--calls", "4")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("4 of 4 calls answered, 4 attempts, 8 at once, ")
    for word in ("the whole call", "the first token", "p99", "│ a ", "│ b "):
        assert word in done.stdout


def test_calls_that_fail_are_counted_with_their_error_and_the_exit_code_is_1(tmp_path: Path) -> None:
    pytest.importorskip("langchain_openai")
    path = tmp_path / "cluster.yaml"
    path.write_text("endpoints: [{id: a, model: 'openai:m', base_url: 'http://127.0.0.1:9/v1'}]\n")
    shown = run(str(path), "--calls", "1")
    assert shown.exit_code == 1
    assert shown.stdout.startswith("0 of 1 calls answered")
    assert "error: 1 × " in shown.stderr
    told = json.loads(run(str(path), "--calls", "2", "--json").stdout)
    assert (told["failed"], sum(told["errors"].values())) == (2, 2)
    assert told["attempts"] == told["endpoints"]["a"]["failed"] >= 2
    assert told["whole"] == {"p50": None, "p95": None, "p99": None}


def test_a_config_whose_registry_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_cluster.cli.bench.READY", 0.05)
    path = tmp_path / "cluster.yaml"
    path.write_text(
        f"discovery: {{kind: file, path: {tmp_path}/gone.yaml}}\nfactory: {{model: 'scripted:fox'}}\n"
    )
    done = run(str(path))
    assert done.exit_code == 1
    assert done.stderr == "error: no registry answered within 0.05 s\n"


def test_a_quantile_is_a_time_that_was_measured() -> None:
    assert _quantiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 3.0, "p99": 3.0}
    assert _quantiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
