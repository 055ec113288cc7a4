"""`route`: who would serve a request and why not, and simulated traffic as tables, JSON and pictures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from typer.testing import CliRunner, Result

from langchain_cluster.cli.app import make_app

CLUSTER = """
endpoints:
  - {id: eu, model: 'scripted:x', zone: eu, tags: [fast], metadata: {model: fox}}
  - {id: us, model: 'scripted:x', zone: us, weight: 2, capabilities: [vision]}
  - {id: unused, model: 'scripted:x', weight: 0}
  - {id: spare, model: 'scripted:x', priority: 1}
  - {id: gold, model: 'scripted:x', tier: gold}
  - {id: vectors, model: 'scripted:x', roles: [embedding]}
balancer: {BALANCER}
"""
SCENARIO = """
name: small
about: one of three is slow
endpoints:
  - {id: slow, service: 1s}
  - {id: fast, copies: 2}
balancers: [peak_ewma, {kind: consistent_hash, bound: 1.5}]
arrivals: {callers: 6}
calls: 300
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["route", *arguments])


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER.replace("{BALANCER}", "power_of_two"))
    return str(path)


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    return str(path)


def judged(*arguments: str) -> tuple[int, dict[str, tuple[str, str | None]]]:
    done = run(*arguments, "--json")
    told = json.loads(done.stdout)
    return done.exit_code, {each["id"]: (each["serves"], each["why"]) for each in told["endpoints"]}


# -- a config ---------------------------------------------------------------------------------------


def test_it_says_who_would_serve_and_why_others_not(config: str) -> None:
    code, told = judged(config)
    assert code == 0
    assert {id for id, (serves, _) in told.items() if serves == "yes"} == {"eu", "us", "gold"}
    assert told["unused"] == ("no", "weight 0")
    assert told["spare"] == ("standby", "priority 1: when those of 0 cannot carry the load")
    assert told["vectors"] == ("no", "has no role llm")


ASKED: list[tuple[list[str], set[str], tuple[str, str]]] = [
    (["--tier", "gold"], {"gold"}, ("eu", "is of tier default, not gold")),
    (["--tag", "fast"], {"eu"}, ("us", "lacks the tags fast")),
    (["--model", "fox"], {"eu"}, ("us", "does not serve the model fox")),
    (["--needs", "tools"], {"eu", "gold"}, ("us", "cannot do tools")),
    (["--role", "embedding"], {"vectors"}, ("eu", "has no role embedding")),
    (["--zone", "us"], {"us"}, ("eu", "zone eu: when nobody in us can answer")),
    (["--zone", "us", "--tier", "gold"], {"gold"}, ("us", "is of tier default, not gold")),
]


@pytest.mark.parametrize(("asked", "serve", "why"), ASKED, ids=[" ".join(asked) for asked, _, _ in ASKED])
def test_a_request_narrows_it(config: str, asked: list[str], serve: set[str], why: tuple[str, str]) -> None:
    code, told = judged(config, *asked)
    assert code == 0
    assert {id for id, (serves, _) in told.items() if serves == "yes"} == serve
    assert told[why[0]][1] == why[1]


def test_in_a_small_pool_the_wish_for_a_zone_is_not_heard(config: str) -> None:
    Path(config).write_text(
        "endpoints: [{id: a, model: 'scripted:x', zone: eu}, {id: b, model: 'scripted:x'}]"
    )
    _, told = judged(config, "--zone", "eu")
    assert {id: serves for id, (serves, _) in told.items()} == {"a": "yes", "b": "yes"}


def test_the_shares_are_the_balancers(config: str, tmp_path: Path) -> None:
    def shares(*more: str) -> dict[str, float]:
        told = json.loads(run(config, "--json", *more).stdout)
        return {each["id"]: each["share"] for each in told["endpoints"]}

    spread = shares("--picks", "4000")
    assert sum(spread.values()) == pytest.approx(1.0)
    assert spread["us"] == pytest.approx(0.5, abs=0.05)  # of weight 2 beside two of weight 1
    assert spread["unused"] == spread["spare"] == 0.0
    Path(config).write_text(CLUSTER.replace("{BALANCER}", "consistent_hash"))
    assert max(shares("--key", "session-1", "--picks", "50").values()) == 1.0


def test_nobody_would_serve_it_is_exit_code_1(config: str) -> None:
    done = run(config, "--tier", "silver")
    assert done.exit_code == 1
    assert "nobody would serve this request" in done.stdout
    assert re.search(r"│ eu +│ no +│ +- │ is of tier default, not silver", done.stdout)


def test_the_table_says_whose_shares_they_are(config: str) -> None:
    done = run(config)
    assert done.exit_code == 0
    assert "shares of 1000 calls by power_of_two, if all answer equally fast" in done.stdout


# -- a scenario -------------------------------------------------------------------------------------


def test_a_scenario_is_shown_per_balancer_and_per_endpoint(scenario: str) -> None:
    done = run("--simulate", scenario)
    assert (done.exit_code, done.stderr) == (0, "")  # no progress where nobody watches
    assert "one of three is slow: 300 calls, seed 0" in done.stdout
    assert re.search(r"│ peak_ewma +│ 0\.10 s │ 0\.10 s │ 0\.10 s │", done.stdout)
    assert "consistent_hash (bound=1.5)" in done.stdout
    assert "│ fast × 2 │" in done.stdout


def test_json_has_every_endpoint(scenario: str) -> None:
    told = json.loads(run("--simulate", scenario, "--json", "--calls", "200", "--seed", "7").stdout)
    assert (told["scenario"], told["calls"], told["seed"]) == ("small", 200, 7)
    first = told["balancers"]["peak_ewma"]
    assert first["answered"] == first["attempts"] == 200
    assert first["hit_ratio"] is None
    assert set(first["endpoints"]) == {"slow", "fast-1", "fast-2"}
    assert sum(each["share"] for each in first["endpoints"].values()) == pytest.approx(1.0)
    assert {"share", "p50", "p95", "p99", "failed", "retried"} <= set(first["endpoints"]["slow"])


def test_balancers_can_be_given_one_by_one_or_all(scenario: str) -> None:
    def kinds(*more: str) -> list[str]:
        return list(
            json.loads(run("--simulate", scenario, "--json", "--calls", "20", *more).stdout)["balancers"]
        )

    assert kinds("--balancer", "round_robin", "--balancer", "weighted") == ["round_robin", "weighted"]
    assert len(kinds("--balancer", "all")) == 8


def test_a_shipped_scenario_goes_by_its_name() -> None:
    done = run("--simulate", "zipf-sessions", "--balancer", "consistent_hash", "--calls", "200")
    assert done.exit_code == 0
    assert re.search(r"hits ┃.*│ \d+\.\d+% │", done.stdout, re.DOTALL)


@pytest.mark.parametrize("name", ["slow-one-of-ten", "one-drained", "half-dead", "zipf-sessions"])
def test_a_picture_is_drawn(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.svg"
    done = run("--simulate", name, "--calls", "300", "--plot", str(picture))
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"drawn: {picture}" in done.stdout
    ET.parse(picture)
    text = picture.read_text()
    assert "Share of the attempts" in text
    assert "peak_ewma" in text
    assert ("over time" in text) is (name in ("one-drained", "half-dead"))


def test_the_same_picture_is_the_same_file_and_png_is_one_too(scenario: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, again, png = tmp_path / "1.svg", tmp_path / "2.svg", tmp_path / "3.PNG"
    for path in (first, again, png):
        assert run("--simulate", scenario, "--plot", str(path)).exit_code == 0
    assert first.read_bytes() == again.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_nobody_answers_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "dead.yaml"
    path.write_text("endpoints: [{id: a}]\ncalls: 20\nfaults: [{kind: fails, endpoint: a, end: 90s}]\n")
    done = run("--simulate", str(path), "--plot", str(tmp_path / "dead.svg"))
    assert done.exit_code == 0
    assert "no answer" in (tmp_path / "dead.svg").read_text()
    assert re.search(r"peak_ewma +│ +- │ +- │ +- │", done.stdout)


def test_without_matplotlib_it_says_what_to_install(
    scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr("langchain_cluster.extras.import_module", missing)
    done = run("--simulate", scenario, "--plot", str(tmp_path / "x.svg"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert 'pip install "langchain-cluster[plot]"' in done.stderr


WRONG: list[tuple[list[str], str]] = [
    ([], "nothing to route: give CONFIG, or --simulate SCENARIO"),
    (["CONFIG", "--simulate", "throttled"], "give either CONFIG or --simulate, not both"),
    (["CONFIG", "--balancer", "weighted"], "--balancer: is for --simulate SCENARIO"),
    (["CONFIG", "--plot", "x.svg"], "--plot: is for --simulate SCENARIO"),
    (["CONFIG", "--role", "cook"], "unknown role 'cook'"),
    (["CONFIG", "--picks", "0"], "--picks"),
    (["--simulate", "throttled", "--key", "x"], "--key: is for CONFIG, not for --simulate"),
    (["--simulate", "throttled", "--tag", "x"], "--tag: is for CONFIG, not for --simulate"),
    (["--simulate", "throtled"], "did you mean 'throttled'?"),
    (["--simulate", "gone.yaml"], "gone.yaml: there is no such file"),
    (["--simulate", "throttled", "--balancer", "peak_ewm"], "did you mean 'peak_ewma'?"),
    (["--simulate", "throttled", "--plot", "x.pdf"], "--plot: unknown kind of picture '.pdf'"),
    (["--simulate", "throttled", "--plot", "/nowhere/at/all/x.svg"], "--plot: there is no directory"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[told for _, told in WRONG])
def test_wrong_use_is_one_line_and_exit_code_2(config: str, arguments: list[str], told: str) -> None:
    done = run(*(config if word == "CONFIG" else word for word in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_the_schema_of_a_scenario_is_printed() -> None:
    done = CliRunner().invoke(make_app(), ["schema", "scenario"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["required"] == ["endpoints"]
    assert CliRunner().invoke(make_app(), ["schema", "poem"]).exit_code == 2
