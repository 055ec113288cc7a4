import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from typer.testing import CliRunner, Result

from langchain_cluster.cli.app import make_app
from langchain_cluster.cli.chat import about_line
from langchain_cluster.llm import ClusteredLLM
from langchain_cluster.testing import ScriptedModel, SimulatedServer, faults

LINE = re.compile(r"^(\S+ · )?\d+ attempts? · \d+\.\d s · cache (miss|off|hit \(\w+\))$", re.MULTILINE)


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(make_app(), ["chat", *arguments], input=typed)


@pytest.fixture
def fox(tmp_path: Path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text("endpoints: [{id: a, model: 'scripted:fox'}]\ncache: memory\n")
    return str(path)


def playing(monkeypatch: pytest.MonkeyPatch, *script: Any) -> ScriptedModel:
    """The model that a config of one endpoint gets from now on."""
    model = ScriptedModel(*script)
    monkeypatch.setattr("langchain_cluster.config.build.chat_model", lambda own: model)
    return model


def test_once_prints_the_answer_alone_and_the_remark_beside_it(fox: str) -> None:
    done = run(fox, "--once", "hello")
    assert done.exit_code == 0
    assert done.stdout == "fox, as a\n"
    assert LINE.fullmatch(done.stderr.strip())
    assert done.stderr.endswith("cache miss\n")


def test_once_as_json(fox: str) -> None:
    done = run(fox, "--once", "hello", "--json")
    told = json.loads(done.stdout)
    assert told["answer"] == "fox, as a"
    assert (told["cluster"]["endpoint"], told["cluster"]["cache"]) == ("a", "miss")
    assert done.stderr == ""


def test_once_over_servers_named_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.setenv("CHAT_KEY", "sk-chat")
    with SimulatedServer(record_secrets=True) as server:
        server.fail(faults.Status(503), "gpu-1")
        urls = [part for name in ("gpu-1", "gpu-2") for part in ("--base-url", server.openai_url(name))]
        done = run(
            *urls,
            "--model",
            "m",
            "--api-key-env",
            "CHAT_KEY",
            "--system",
            "Be brief.",
            "--once",
            "hi",
            "--json",
        )
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["answer"]
        assert told["cluster"]["endpoint"] == "endpoint-2"
        (seen,) = server.seen("gpu-2")
        assert [m["role"] for m in seen.body["messages"]] == ["system", "user"]
        assert seen.body["model"] == "m"
        assert "sk-chat" in str(seen.headers)


def test_each_server_may_have_a_model_of_its_own() -> None:
    pytest.importorskip("langchain_openai")
    with SimulatedServer() as server:
        one, other = server.openai_url("gpu-1"), server.openai_url("gpu-2")
        server.fail(faults.Status(503), "gpu-1")
        done = run(
            "--base-url", one, "--base-url", other, "--model", "m", "--model", "openai:n", "--once", "hi"
        )
        assert done.exit_code == 0, done.output
        assert server.seen("gpu-2")[0].body["model"] == "n"


def test_a_question_nobody_answers_is_one_red_line_and_exit_code_1() -> None:
    pytest.importorskip("langchain_openai")
    with SimulatedServer() as server:
        server.fail(faults.Status(400, body="no such thing\nat all"))
        done = run("--base-url", server.openai_url("gpu-1"), "--model", "m", "--once", "hi")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


WRONG = [
    ([], "give FILE, or --base-url URL and --model NAME"),
    (["--base-url", "http://a/v1"], "give FILE, or --base-url URL and --model NAME"),
    (["--model", "m"], "give FILE, or --base-url URL and --model NAME"),
    (["a.yaml", "--model", "m"], "either FILE or --base-url"),
    (["a.yaml", "--api-key-env", "K"], "either FILE or --base-url"),
    (["--base-url", "gpu-1", "--model", "m"], "endpoints.0.url: 'gpu-1' is not an address"),
    (["--base-url", "http://a", "--model", "m", "--model", "n"], "--model: 2 names for 1 servers"),
    (["--base-url", "http://a", "--model", "m", "--api-key-env", "NOT_SET_HERE"], "NOT_SET_HERE is not set"),
    (["a.yaml", "--json"], "--json: is for one question: add --once QUESTION"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_conversation_remembers_and_ends_with_the_input(fox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = playing(monkeypatch, "I am Fox.", "Still Fox.")
    done = run(fox, typed="who?\n\n   \nand now?\n")
    assert done.exit_code == 0
    assert re.search(r"> I am Fox\.\na · 1 attempt · \d\.\d s · cache miss\n", done.stdout)
    assert "Still Fox." in done.stdout
    assert len(LINE.findall(done.stdout)) == 2
    assert [[m.content for m in asked] for asked in model.asked] == [
        ["who?"],
        ["who?", "I am Fox.", "and now?"],
    ]


def test_a_repeated_conversation_is_answered_from_the_cache(
    fox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    playing(monkeypatch, "Fox.", ValueError("not you again"))
    path = Path(fox)
    path.write_text(path.read_text() + "policy: {attempts: 1}\n")
    kept: list[Any] = []
    build = ClusteredLLM.from_config.__func__  # type: ignore[attr-defined]

    def once(cls: type, source: Any) -> Any:
        kept[:] = kept or [build(cls, source)]
        return kept[0]

    monkeypatch.setattr(ClusteredLLM, "from_config", classmethod(once))
    monkeypatch.setattr("langchain_cluster.cluster.Cluster.close", lambda self: True)
    assert "cache miss" in run(fox, "--once", "who?").stderr
    again = run(fox, "--once", "who?")
    assert again.stdout == "Fox.\n"
    assert "cache hit (memory)" in again.stderr


def test_an_error_is_one_line_and_the_conversation_goes_on(fox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(fox).write_text(Path(fox).read_text() + "policy: {attempts: 1}\n")
    model = playing(monkeypatch, ValueError("bad\nquestion"), "Fox.")
    done = run(fox, typed="one\ntwo\n")
    assert done.exit_code == 0
    assert done.stderr == "error: bad question\n"
    assert "Fox." in done.stdout
    assert [m.content for m in model.asked[-1]] == ["two"]  # as if the first had not been asked


def test_a_model_cannot_write_to_the_terminal_itself(fox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    playing(monkeypatch, "red \x1b[31m[bold]x[/bold] :smile:")
    assert run(fox, "--once", "?").stdout == "red [31m[bold]x[/bold] :smile:\n"


def test_tokens_are_shown_as_they_come(fox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    playing(monkeypatch, "one two three")
    shown: list[str] = []
    monkeypatch.setattr("langchain_cluster.cli.chat._show", lambda screen, text: shown.append(text))
    run(fox, "--once", "?")
    assert len(shown) > 1
    assert "".join(shown) == "one two three"


def test_ctrl_c_at_the_prompt_leaves(fox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.console.Console.input", interrupted)
    assert run(fox).exit_code == 0


def test_ctrl_c_during_an_answer_leaves_with_130_and_nothing_in_flight(
    fox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    playing(monkeypatch, "one two three")
    built: list[Any] = []
    close = ClusteredLLM.from_config.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        ClusteredLLM,
        "from_config",
        classmethod(lambda cls, source: built.append(close(cls, source)) or built[0]),
    )

    def interrupted(screen: Any, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("langchain_cluster.cli.chat._show", interrupted)
    for options, typed in ((["--once", "?"], None), ([], "?\n")):
        built.clear()
        done = run(fox, *options, typed=typed)
        assert done.exit_code == 130
        assert "Traceback" not in done.output
        assert built[0].cluster.in_flight == 0
        assert built[0].cluster.closed


@pytest.mark.parametrize(
    ("about", "line"),
    [
        (
            {"endpoint": "gpu-2", "attempts": 1, "seconds": 0.82, "cache": "miss"},
            "gpu-2 · 1 attempt · 0.8 s · cache miss",
        ),
        (
            {"endpoint": None, "attempts": 0, "seconds": 0, "cache": "memory"},
            "0 attempts · 0.0 s · cache hit (memory)",
        ),
        ({}, "0 attempts · 0.0 s · cache off"),
    ],
)
def test_the_line_below_an_answer(about: dict[str, Any], line: str) -> None:
    assert about_line(about) == line
