"""The audit trail: a line a call, chained, rotated, and never what was said."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, current_thread
from time import sleep
from typing import Any

import orjson
import pytest

from langchain_cluster import ClusteredLLM, ConfigError, Endpoint, Policy, Price
from langchain_cluster.cache import MemoryCache
from langchain_cluster.model.call import Request
from langchain_cluster.model.events import CallEnded
from langchain_cluster.telemetry import AuditLog, OtelTracing, Telemetry, audit
from langchain_cluster.telemetry.audit import BEGINNING, rotated
from langchain_cluster.telemetry.trail import Total, files, records, sums, verify
from langchain_cluster.testing import ScriptedModel
from tests.faces.faces import NAMES, Face


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=NAMES[:4])
def face(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Face:
    return Face(request.param, runner)


def lines(log: AuditLog) -> list[dict[str, Any]]:
    assert log.flush()
    return list(records(log.path))


def written(path: Path, count: int, **options: Any) -> AuditLog:
    """A trail with so many plain lines."""
    log = AuditLog(path, chain=True, **options)
    for n in range(count):
        log.put({"tenant": f"t{n % 2}", "outcome": "ok", "n": n})
    log.close()
    return log


def test_a_line_says_who_asked_what_and_how_it_ended(face: Face, tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", user=lambda request: f"{request.agent}'s", clock=lambda: 0.0)
    llm = ClusteredLLM(
        [Endpoint("gpu-1", ScriptedModel("fine"), tier="large", price=Price(input=1.0))],
        telemetry=Telemetry(OtelTracing(), audit=log),
    )
    face.ask(llm.for_agent("planner"), "SECRET", {"configurable": {"cluster": {"tenant": "acme"}}})
    (told,) = lines(log)
    assert told.pop("seconds") >= 0
    assert told == {
        "number": 1,
        "time": "1970-01-01T00:00:00.000+00:00",
        "tenant": "acme",
        "user": "planner's",
        "agent": "planner",
        "operation": "llm",
        "outcome": "ok",
        "error": None,
        "attempts": 1,
        "tier": "large",
        "endpoint": "gpu-1",
        "model": "scripted",
        "cache": "off",
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
    }
    assert "SECRET" not in log.path.read_text()
    assert "fine" not in log.path.read_text()


def test_a_call_that_failed_and_one_that_was_left_are_there(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    model = ScriptedModel(ConnectionError("SECRET"), "one two three")
    llm = ClusteredLLM(
        [Endpoint("e", model)], telemetry=Telemetry(OtelTracing(), audit=log), policy=Policy(attempts=1)
    )
    with pytest.raises(ConnectionError):
        llm.invoke("hello")
    stream: Any = llm.stream("hello")
    next(stream)
    stream.close()
    known = ("outcome", "error", "attempts", "endpoint", "model")
    told = [tuple(line[name] for name in known) for line in lines(log)]
    assert told == [
        ("failed", "ConnectionError", 1, "e", "scripted"),
        ("abandoned", "abandoned", 1, "e", "scripted"),
    ]
    assert "SECRET" not in log.path.read_text()


def test_a_chain_is_whole_across_files_and_processes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 30, max_bytes=2000, keep=100)
    written(path, 30, max_bytes=2000, keep=100)
    assert len(files(path)) > 3
    found = verify(path)
    assert (found.lines, found.first, found.problem) == (60, 1, None)
    assert all(file.stat().st_size <= 2000 for file in files(path))
    assert [told["number"] for told in records(path)] == list(range(1, 61))


def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 60, max_bytes=1000, keep=2)
    assert files(path) == [rotated(path, 2), rotated(path, 1), path]
    found = verify(path)
    assert found.problem is None
    assert found.first > 1


@pytest.mark.parametrize("tamper", ["change", "drop", "insert", "swap", "forge"])
def test_whoever_tampers_is_found(tmp_path: Path, tamper: str) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 10)
    raw = path.read_bytes().splitlines(keepends=True)
    match tamper:
        case "change":
            raw[4] = raw[4].replace(b'"t0"', b'"t9"')
        case "drop":
            del raw[4]
        case "insert":
            raw.insert(4, raw[3])
        case "swap":
            raw[4], raw[5] = raw[5], raw[4]
        case "forge":
            raw[4] = orjson.dumps({"number": 5, "outcome": "ok"}) + b"\n"
    path.write_bytes(b"".join(raw))
    found = verify(path)
    assert found.lines == 4
    assert found.problem is not None
    assert "audit.jsonl:5" in found.problem


def test_a_field_behind_the_seal_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl", 3).path
    for forged in (b',"tenant":"mallory"}\n', b"} \n"):
        whole = path.read_bytes().splitlines(keepends=True)
        other = tmp_path / "forged.jsonl"
        other.write_bytes(b"".join([whole[0], whole[1].rstrip()[:-1] + forged, whole[2]]))
        assert verify(other).problem == "forged.jsonl:2: the line was changed"


@pytest.mark.parametrize("gone", ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"])
def test_a_file_that_is_gone_is_missed(tmp_path: Path, gone: str) -> None:
    path = written(tmp_path / "audit.jsonl", 80, max_bytes=4000, keep=3).path
    assert verify(path).problem is None
    (tmp_path / gone).unlink()
    assert "missing" in str(verify(path).problem)


@pytest.mark.parametrize("kept", [slice(1, None), slice(0, -1), slice(0, 0)])
def test_a_cut_at_either_end_is_missed(tmp_path: Path, kept: slice) -> None:
    path = written(tmp_path / "audit.jsonl", 5).path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[kept]))
    assert "missing" in str(verify(path).problem)
    written(path, 1)  # whoever goes on writing covers nothing up
    assert "missing" in str(verify(path).problem)


def test_a_chain_that_was_made_anew_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl", 5).path
    forged = AuditLog(tmp_path / "forged.jsonl", chain=True)
    for n in range(5):
        forged.put({"tenant": "nobody", "n": n})
    forged.close()
    forged.path.replace(path)
    assert "made anew" in str(verify(path).problem)


def test_a_note_that_is_none_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl", 5).path
    (tmp_path / "audit.jsonl.head").write_text("{}")
    assert "not the note" in str(verify(path).problem)
    (tmp_path / "audit.jsonl.head").unlink()
    assert verify(path).anchored is False
    written(path, 1)
    assert (verify(path).anchored, verify(path).problem) == (True, None)


def test_a_writer_that_was_ended_at_once_leaves_a_whole_trail(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl", 5).path
    note = tmp_path / "audit.jsonl.head"
    old = note.read_bytes()
    written(path, 3)
    note.write_bytes(old)  # the lines were written, and the note was not
    assert verify(path).problem is None
    written(path, 1)
    assert (verify(path).lines, verify(path).problem) == (9, None)


def test_who_keeps_fewer_files_from_now_on_has_a_whole_trail(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl", 80, max_bytes=4000, keep=5).path
    written(path, 40, max_bytes=4000, keep=2)
    assert [file.name for file in files(path)] == ["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"]
    assert verify(path).problem is None


def test_what_is_wrong_with_one_call_is_not_the_loss_of_others(tmp_path: Path) -> None:
    def broken(request: Any) -> str:
        raise LookupError("SECRET")

    log = AuditLog(tmp_path / "audit.jsonl", chain=True, user=broken)
    llm = ClusteredLLM(
        [Endpoint("gpu-1", ScriptedModel("fine"))], telemetry=Telemetry(OtelTracing(), audit=log)
    )
    llm.invoke("hi", {"configurable": {"cluster": {"tenant": "acme\ud800"}}})
    log.put(lambda: {"tenant": 1 // 0})
    log.put({"tenant": "globex"})
    told = lines(log)
    assert [(line.get("tenant"), line.get("user"), line.get("lost")) for line in told] == [
        ("acme\\ud800", None, None),
        ("globex", None, None),
        (None, None, 1),
    ]
    assert verify(log.path).problem is None


def test_a_line_that_was_not_finished_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 3)
    path.write_bytes(path.read_bytes()[:-20])
    written(path, 2)
    assert verify(path).problem is not None
    assert len(list(records(path))) == 4, "and the others can still be read"


def test_an_empty_trail_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 0)
    assert verify(path).lines == 0
    written(path, 1)
    assert next(iter(records(path)))["previous"] == BEGINNING


def test_totals(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.put({"tenant": "a", "outcome": "ok", "input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5})
    log.put({"tenant": "a", "outcome": "hit", "input_tokens": None})
    log.put({"tenant": None, "outcome": "deadline"})
    log.put({"lost": 3})
    log.close()
    assert sums(path, "tenant") == {"a": Total(2, 0, 1, 3, 4, 0.5), "-": Total(1, 1)}
    with pytest.raises(ConfigError, match="nothing to sum by"):
        sums(path, "prompt")


def test_a_disk_that_fails_costs_lines_and_no_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    broken = monkeypatch.context()
    with broken as patch:

        def fails(lines: Any) -> None:
            raise OSError("no space left")

        patch.setattr(log, "_write", fails)
        log.put({"outcome": "ok"})
        log.flush()
    assert log.lost == 1
    assert "cannot be written: OSError" in caplog.text
    log.put({"outcome": "ok"})
    assert [told.get("lost") for told in lines(log)] == [None, 1], "it says that something is missing"


def test_too_many_lines_are_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_cluster.telemetry import audit

    monkeypatch.setattr(audit, "MOST_WAITING", 0)
    log = AuditLog(tmp_path / "audit.jsonl")
    log.put({"outcome": "ok"})
    assert log.lost == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [({"max_bytes": 10}, "max_bytes"), ({"keep": 0}, "keep"), ({"path": "/proc/x/y"}, "/proc")],
)
def test_what_cannot_work_is_said_at_once(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        AuditLog(**{"path": tmp_path / "a", **options})


@pytest.mark.parametrize("user", [None, lambda request: "ann"])
def test_what_waits_to_be_written_holds_no_question_unless_a_hook_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: Any
) -> None:
    log, left = AuditLog(tmp_path / "audit.jsonl", user=user), []
    monkeypatch.setattr(log, "put", left.append)
    llm = ClusteredLLM([Endpoint("e", ScriptedModel("x"))], telemetry=Telemetry(OtelTracing(), audit=log))
    llm.invoke("CANARY")
    (told,) = left
    assert any(isinstance(part, Request) for part in told) is (user is not None)
    assert not any(isinstance(part, CallEnded) for part in told)


def test_a_process_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    assert AuditLog(tmp_path / "audit-{pid}.jsonl").path.name != "audit-{pid}.jsonl"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["audit.jsonl", "audit-{pid}.jsonl"])
def test_the_child_of_a_fork_has_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    log = AuditLog(tmp_path / name, chain=True)
    log.put({"tenant": "parent"})
    assert log.flush()
    log._thread = Thread()  # nobody writes: it stays in the queue
    log._thread.is_alive = lambda: True  # type: ignore[method-assign]
    log.put({"tenant": "waits"})
    child = os.fork()
    if child == 0:
        log.put({"tenant": "child"})
        log.flush(10.0)
        os._exit(0)
    os.waitpid(child, 0)
    log._thread = None
    log.put({"tenant": "parent"})
    assert [line["tenant"] for line in lines(log)] == ["parent", "waits", "parent"]
    own = tmp_path / f"audit-{child}.jsonl"
    assert [line["tenant"] for line in records(own)] == ["child"]
    assert (verify(log.path).problem, verify(own).problem) == (None, None)
    log.close()


def test_a_hit_costs_nothing_and_says_so(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    llm = ClusteredLLM(
        [Endpoint("e", ScriptedModel("x"))],
        telemetry=Telemetry(OtelTracing(), audit=log),
        cache=MemoryCache(),
    )
    llm.invoke("hello")
    llm.invoke("hello")
    assert [(told["cache"], told["cost_usd"]) for told in lines(log)] == [("miss", None), ("memory", 0.0)]


def test_a_line_that_comes_as_the_thread_ends_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "IDLE", 0)
    log = AuditLog(tmp_path / "audit.jsonl")
    looked: list[str] = []

    class Waiting(deque[Any]):
        """Is empty when it is looked at the first time, and no longer a moment later."""

        def __bool__(self) -> bool:
            there = len(self) > 0
            if not there and not looked and current_thread() is log._thread:
                looked.append("once")
                log.put({"number": "late"})
            return there

    log._waiting = Waiting()
    log.put({"number": "first"})
    while not looked:
        sleep(0.001)
    assert log.flush(20)
    assert len(lines(log)) == 2
    log.close()
