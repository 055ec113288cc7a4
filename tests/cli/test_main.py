"""`main`, in this process: what the script on the path calls."""

import json
from typing import Any

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from langchain_cluster.cli import main


@pytest.mark.parametrize(
    ("arguments", "code"), [(["schema"], 0), (["check", "gone.yaml"], 2), (["nonsense"], 2)]
)
def test_it_exits_with_the_commands_code(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == code
    told = capsys.readouterr()
    if code:
        assert told.out == ""
        assert told.err
    else:
        json.loads(told.out)


@pytest.mark.parametrize("absent", ["typer", "rich"])
def test_an_absent_library_is_named_with_its_extra(
    absent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def need(module: str, *, extra: str, for_: str) -> None:
        if module == absent:
            raise ImportError(f"{for_} needs {module} of {extra}")

    monkeypatch.setattr("langchain_cluster.extras.need", need)
    assert main(["version"]) == 2
    assert capsys.readouterr().err == f"error: The command line needs {absent} of cli\n"


def test_ctrl_c_before_a_command_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("langchain_cluster.extras.need", interrupted)
    assert main(["version"]) == 130
