"""`cache`: what its commands show, take back and fill, and what they refuse."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from typer.testing import CliRunner, Result

from langchain_cluster import ConfigError
from langchain_cluster.admin import TOKEN_ENV
from langchain_cluster.cli.app import make_app
from langchain_cluster.cli.cache import warm as module
from langchain_cluster.llm import ClusteredLLM

CONFIG = "endpoints: [{id: a, model: 'scripted:fox'}]\ncache: {kind: layered, layers: [memory, memory]}\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), ["cache", *arguments])


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> ClusteredLLM:
    """One model for all commands, as if its cache were a Redis."""
    from langchain_cluster.cli.cache import place

    llm = ClusteredLLM.from_config(
        {
            "endpoints": [{"id": "a", "model": "scripted:fox"}],
            "cache": {"kind": "layered", "layers": ["memory"]},
        }
    )
    monkeypatch.setattr(module, "_lasting", lambda config: llm)
    monkeypatch.setattr(place, "of_config", lambda config: llm)
    return llm


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("one\ntwo\n")
    return str(path)


@pytest.fixture
def running(config: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ClusteredLLM]]:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from langchain_cluster.admin import create_app
    from tests.admin.conftest import TOKEN, served

    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    llm = ClusteredLLM.from_config(config)
    with llm.cluster, served(create_app(llm)) as port:
        yield f"http://127.0.0.1:{port}", llm


def test_the_counts_of_each_layer_are_shown(running: tuple[str, ClusteredLLM]) -> None:
    url, llm = running
    llm.invoke("hi")
    llm.invoke("hi")
    shown = run("stats", "--admin", url)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"memory +50\.0% +1 +\d+ B +1 +1", shown.stdout)
    assert re.search(r"all +50\.0%", shown.stdout)
    told = json.loads(run("stats", "--admin", url, "--json").stdout)
    assert told["semantic"] is None
    assert [layer["name"] for layer in told["exact"]["layers"]] == ["memory", "memory"]


def test_the_counts_of_a_config_are_those_of_its_stores(config: str) -> None:
    assert json.loads(run("stats", "--config", config, "--json").stdout)["exact"]["entries"] == 0


def test_what_is_kept_for_a_question_is_shown(running: tuple[str, ClusteredLLM]) -> None:
    url, llm = running
    llm.invoke("hi", {"configurable": {"cluster": {"tenant": "ann"}}})
    shown = run("get", "--admin", url, "--prompt", "hi", "--tenant", "ann")
    assert shown.exit_code == 0, shown.output
    assert "fox" in shown.stdout
    (key,) = llm.cache_keys("hi", {"configurable": {"cluster": {"tenant": "ann"}}})
    (found,) = json.loads(run("get", key, "--admin", url, "--json").stdout)
    assert [(one["name"], one["kind"]) for one in found["layers"]] == [("memory", "answer")] * 2
    absent = run("get", "--admin", url, "--prompt", "hi")
    assert (absent.exit_code, "nothing under" in absent.stdout) == (1, True)
    system = run("get", "--admin", url, "--prompt", "hi", "--system", "be brief")
    assert system.exit_code == 1


def test_a_question_that_is_not_cached_is_told(tmp_path: Path) -> None:
    path = tmp_path / "warm.yaml"
    path.write_text("endpoints: [{id: a, model: 'scripted:fox'}]\ncache: memory\npolicy: {cache: false}\n")
    done = run("get", "--config", str(path), "--prompt", "hi")
    assert (done.exit_code, "such a question is not cached" in done.stdout) == (1, True)


def test_answers_are_shown_to_nobody_without_the_token(running: tuple[str, ClusteredLLM]) -> None:
    done = run("get", "--admin", running[0], "--prompt", "hi", "--token-env", "NOT_SET")
    assert done.exit_code == 1
    assert "token is needed" in done.stderr


def test_answers_are_taken_back_by_tenant_and_by_pattern(running: tuple[str, ClusteredLLM]) -> None:
    url, llm = running
    for tenant in ("ann", "bob"):
        llm.invoke("hi", {"configurable": {"cluster": {"tenant": tenant}}})
    assert run("invalidate", "--admin", url, "--tenant", "ann").stdout == "1 removed\n"
    assert run("get", "--admin", url, "--prompt", "hi", "--tenant", "bob").exit_code == 0
    assert run("invalidate", "--admin", url, "--tenant", "bob", "--tag", "x").stdout == "0 removed\n"
    assert json.loads(run("invalidate", "lc:*", "--admin", url, "--json").stdout) == {"removed": 1}


def test_a_cache_is_warmed_by_prompts(lasting: ClusteredLLM, prompts: str) -> None:
    done = run("warm", prompts, "--config", "x")
    assert (done.exit_code, done.stdout) == (0, "0 were there, 2 asked, 0 failed\n")
    told = json.loads(run("warm", prompts, "--config", "x", "--json", "--concurrency", "1").stdout)
    assert (told["hits"], told["asked"], told["interrupted"]) == (2, 0, False)
    assert json.loads(run("warm", prompts, "--config", "x", "--json", "--refresh").stdout)["asked"] == 2


def test_prompts_that_fail_are_told_and_are_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_cluster import Endpoint
    from langchain_cluster.cache import MemoryCache
    from langchain_cluster.testing import ScriptedModel

    llm = ClusteredLLM([Endpoint("a", ScriptedModel(ValueError("no")))], cache=MemoryCache(), max_retries=0)
    monkeypatch.setattr(module, "_lasting", lambda config: llm)
    path = tmp_path / "p.jsonl"
    lines = [json.dumps({"prompt": str(n)}) for n in range(12)]
    path.write_text("\n".join([*lines, json.dumps({"prompt": "x", "arguments": {"temperature": 1}})]))
    done = run("warm", str(path), "--config", "x", "--concurrency", "1")
    assert done.exit_code == 1
    assert done.stdout == "0 were there, 0 asked, 12 failed\n"
    assert "line 1: ValueError: no" in done.stderr
    assert "and 2 more" in done.stderr
    assert "1 cannot be cached" in done.stderr


def test_entries_are_copied_from_a_process_by_way_of_a_file(
    running: tuple[str, ClusteredLLM], tmp_path: Path, lasting: ClusteredLLM
) -> None:
    url, llm = running
    for _ in range(2):
        llm.invoke("hi")
    file = str(tmp_path / "hot.jsonl")
    assert run("warm", "--from", url, "--to", file).stdout == "1 entries found, 1 written\n"
    assert json.loads(run("warm", "--from", file, "--config", "x", "--json").stdout) == {
        "found": 1,
        "written": 1,
    }
    assert "0 written, the others were there" in run("warm", "--from", file, "--config", "x").stdout
    lasting.cluster.start()
    assert lasting.invoke("hi").response_metadata["cluster"]["cache"] == "memory"
    away = run("warm", "--from", file, "--to", str(tmp_path / "no" / "file"))
    assert (away.exit_code, "cannot be written" in away.stderr) == (2, True)


def test_a_cache_in_memory_is_not_worth_warming_from_here(config: str, prompts: str) -> None:
    done = run("warm", prompts, "--config", config)
    assert done.exit_code == 2
    assert "in memory, and would be gone" in done.stderr


@pytest.mark.parametrize(
    ("cache", "lasts"),
    [("{kind: redis, url: 'redis://127.0.0.1:1'}", True), ("{kind: sharded, shards: {a: memory}}", False)],
)
def test_which_caches_last(cache: str, lasts: bool, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    path = tmp_path / "c.yaml"
    path.write_text(f"endpoints: [{{id: a, model: 'scripted:fox'}}]\ncache: {cache}\n")
    with nullcontext() if lasts else pytest.raises(ConfigError, match="would be gone"):
        module._lasting(str(path)).cluster.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["warm"], "give either PROMPTS or --from"),
        (["warm", "p.txt"], "whose answers? give --config FILE"),
        (["warm", "p.txt", "--to", "x"], "--to: goes with --from"),
        (["warm", "--from", "x"], "where to?"),
        (["warm", "--from", "gone", "--to", "x"], "gone: cannot be read"),
        (["get"], "give either KEY or --prompt"),
        (["get", "k", "--tenant", "x"], "go with --prompt"),
        (["invalidate"], "give PATTERN, --tenant, --model or --tag"),
        (["stats", "--config", "x", "--admin", "http://127.0.0.1:1"], "give either --config or --admin"),
        (["eval", "gone.csv"], "gone.csv: cannot be read"),
        (["eval", "gone.csv", "--error-rate", "0.5"], "--error-rate: 0.5 is not above 0 and below 0.2"),
        (["eval", "gone.csv", "--plot", "x.gif"], "unknown kind of picture"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], says: str) -> None:
    pytest.importorskip("matplotlib")
    done = run(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_config_without_a_cache_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("endpoints: [{id: a, model: 'scripted:fox'}]\n")
    done = run("stats", "--config", str(path))
    assert (done.exit_code, "this config has no cache" in done.stderr) == (2, True)


def test_a_process_without_a_cache_is_told() -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from langchain_cluster.admin import create_app
    from tests.admin.conftest import served

    llm = ClusteredLLM.from_config({"endpoints": [{"id": "a", "model": "scripted:fox"}]})
    with llm.cluster, served(create_app(llm)) as port:
        assert run("stats", "--admin", f"http://127.0.0.1:{port}").stdout == "there is no cache\n"


WORDS = """
class Words:
    def embed_query(self, text):
        vector = [0.01] * 64
        for word in text.split():
            vector[sum(map(ord, word)) % 64] += 1.0
        return vector
    async def aembed_query(self, text):
        return self.embed_query(text)
words = Words()
nothing = 3
"""


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("numpy")
    (tmp_path / "own_words.py").write_text(WORDS)
    (tmp_path / "pairs.csv").write_text(
        "a,b,same\nhow deep is the sea,how deep is this sea,yes\nis it open,is it closed,no\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "pairs.csv"
    sys.modules.pop("own_words", None)


@pytest.mark.parametrize("embeddings", ["own_words:Words", "own_words:words"])
def test_a_semantic_cache_is_judged(judged: str, embeddings: str) -> None:
    pytest.importorskip("matplotlib")
    done = run("eval", judged, "--embeddings", embeddings, "--plot", "curve.png")
    assert done.exit_code == 0, done.output
    assert re.search(r"no guards +0\.80 +1 +100\.0 \(21-100\)", done.stdout)
    assert "2 pairs" in done.stdout
    assert Path("curve.png").stat().st_size > 10_000
    told = json.loads(run("eval", judged, "--embeddings", embeddings, "--json").stdout)
    assert (told["kind"], told["questions"]) == ("pairs", 2)
    (learned,) = [point for point in told["points"] if point["policy"] == "learned"]
    assert learned["error_rate"] == 0.01


def test_questions_as_a_stream_are_judged_too(judged: str) -> None:
    Path("q.csv").write_text("text,answer\nhow deep is the sea,1\nhow deep is this sea,1\n")
    done = run("eval", "q.csv", "--embeddings", "own_words:words")
    assert "wrong %" in done.stdout
    assert "2 questions as a stream" in done.stdout


@pytest.mark.parametrize("embeddings", ["gone:x", "own_words:gone", "own_words", "own_words:nothing", ":"])
def test_embeddings_that_are_none_are_told(judged: str, embeddings: str) -> None:
    done = run("eval", judged, "--embeddings", embeddings)
    assert (done.exit_code, "--embeddings" in done.stderr) == (2, True)


def test_ctrl_c_tells_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    program = """
import sys
from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache
from langchain_cluster.cli import main
from langchain_cluster.cli.cache import warm
from langchain_cluster.testing import ScriptedModel
import asyncio
class Slow(ScriptedModel):
    async def _agenerate(self, *given, **more):
        if self.calls:
            print("waiting", file=sys.stderr, flush=True)
            await asyncio.sleep(600)
        return await super()._agenerate(*given, **more)
llm = ClusteredLLM([Endpoint("a", Slow("x", delay=0.01))], cache=MemoryCache(), timeout=600)
warm._lasting = lambda config: llm
sys.exit(main(["cache", "warm", "p.txt", "--config", "x", "--concurrency", "1"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line == "waiting\n", line + process.stderr.read()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "0 were there, 1 asked, 0 failed\n"), err
    assert "the same command goes on from here" in err


def test_every_command_has_an_example() -> None:
    for name in ("stats", "get", "invalidate", "warm", "eval"):
        done = run(name, "--help")
        assert done.exit_code == 0
        assert f"langchain-cluster cache {name}" in " ".join(done.stdout.split())


def test_nothing_is_kept_by_whoever_writes_other_bytes(running: tuple[str, ClusteredLLM]) -> None:
    url, llm = running
    store: Any = llm.cluster.cache
    store.set("k", b"\x80\x04")
    (found,) = json.loads(run("get", "k", "--admin", url, "--json").stdout)
    assert found["layers"][0]["kind"] == "unknown"


def test_the_counts_of_a_semantic_cache_are_shown_and_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("numpy")
    from langchain_cluster.cli.cache import stats

    told = {
        "exact": {
            "error": "ConnectionError",
            "layers": [{"name": "memory", "bytes": 5 * 1024**2, "hits": 1}],
        },
        "semantic": {"entries": 1_234, "scopes": 2, "hits": 3, "misses": 1, "exact": 1, "stores": 1},
    }
    monkeypatch.setattr(stats, "counted", lambda cluster: told)
    path = "cluster.yaml"
    monkeypatch.setattr(stats, "place", lambda *given: nullcontext((ClusteredLLM.from_config(MINIMAL), None)))
    shown = run("stats", "--config", path).stdout
    assert re.search(r"memory +100\.0% +- +5\.0 M", shown)
    assert re.search(r"all +away +-", shown)
    assert re.search(r"by meaning +75\.0% +1,234 +2 +3", shown)


MINIMAL = {"endpoints": [{"id": "a", "model": "scripted:fox"}], "cache": "memory"}
