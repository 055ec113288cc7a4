"""A file keeps the contract, however it is written and replaced, told of changes or looking for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from langchain_cluster.discovery import FileDiscovery
from langchain_cluster.discovery.changes import Changes
from langchain_cluster.errors import ConfigError, DiscoveryError
from langchain_cluster.testing import FakeClock
from tests.contracts.discovery import Fetching, WatchedContract, weights

LOOK = 0.005  # seconds between looks: these tests move the clock that counts by hand


class Files:
    """A folder with a file that is replaced by a rename."""

    wait = 30.0

    def __init__(self, folder: Path, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "endpoints.json"
        self._clock = FakeClock()
        self.source = FileDiscovery(self.path, wait=self.wait, poll=LOOK, told=told, now=self._clock.now)
        self._waits = Event()
        wait = Changes.wait

        def noting(changes: Changes, stop: Event, seconds: float) -> None:
            self._waits.set()
            wait(changes, stop, seconds)

        monkeypatch.setattr(Changes, "wait", noting)

    def put(self, endpoints: Mapping[str, float]) -> None:
        self.replace([{"id": id, **AT, "weight": weight} for id, weight in endpoints.items()])

    def replace(self, said: Any) -> None:
        self._waits.clear()
        new = self.path.with_suffix(".new")
        new.write_text(said if isinstance(said, str) else json.dumps(said))
        os.replace(new, self.path)

    def until_waited_for(self) -> None:
        self._waits.clear()
        assert self._waits.wait(20)

    def elapse(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def down(self) -> None:
        self.path.unlink()

    def up(self) -> None:
        self.put({"a": 1.0})


AT = {"address": "10.0.0.1", "port": 8000}


class TestLooking(WatchedContract):
    @pytest.fixture
    def registry(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
        return Files(tmp_path, False, monkeypatch)


class TestTold(WatchedContract):
    @pytest.fixture
    def registry(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
        pytest.importorskip("watchfiles")
        return Files(tmp_path, True, monkeypatch)


def written(folder: Path, name: str, text: str) -> FileDiscovery:
    (folder / name).write_text(text)
    return FileDiscovery(folder / name)


YAML = """
endpoints:
  - id: gpu-1
    url: http://10.0.0.1:8000/v1
    model: llama-3
    weight: 2
    tags: [fast]
    metadata: {owner: us}
    capacity: {max_connections: 4}
  - {id: gpu-2, address: 10.0.0.2, port: 8000, path: /v1}
"""
TOML = """
[endpoints.gpu-1]
url = "http://10.0.0.1:8000/v1"
model = "llama-3"
weight = 2
tags = ["fast"]
metadata = { owner = "us" }
capacity = { max_connections = 4 }
[endpoints.gpu-2]
address = "10.0.0.2"
port = 8000
path = "/v1"
"""


@pytest.mark.parametrize(("name", "text"), [("pool.yaml", YAML), ("pool.toml", TOML)])
def test_the_languages_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    one, two = written(tmp_path, name, text).fetch().endpoints
    assert (one.id, one.url, one.weight, one.tags) == (
        "gpu-1",
        "http://10.0.0.1:8000/v1",
        2.0,
        frozenset({"fast"}),
    )
    assert one.metadata["model"] == "llama-3"
    assert one.metadata["owner"] == "us"
    assert one.capacity.max_connections == 4
    assert two.url == "http://10.0.0.2:8000/v1"


def test_a_mapping_or_a_list_will_do(tmp_path: Path) -> None:
    plain = written(tmp_path, "a.json", json.dumps([{"id": "a", **AT}]))
    by_id = written(tmp_path, "b.json", json.dumps({"a": AT}))
    assert plain.fetch().endpoints == by_id.fetch().endpoints


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("a: [", "broken YAML"),
        ("7", "no list of endpoints"),
        ("a: 1\na: 2", "given twice"),
    ],
)
def test_what_is_no_roster_is_an_error_and_not_an_empty_one(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DiscoveryError, match=problem):
        written(tmp_path, "pool.yaml", text).fetch()


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DiscoveryError, match="not UTF-8"):
        FileDiscovery(tmp_path / "pool.yaml").fetch()


def test_a_bad_entry_costs_the_others_nothing(tmp_path: Path) -> None:
    entries = [
        {"id": "good", **AT},
        {"id": "good", **AT},
        "no mapping",
        {"address": "10.0.0.3", "port": 1},
        {"id": "port", "address": "10.0.0.4", "port": 70000},
        {"id": "metadata", "address": "169.254.169.254", "port": 80},
        {"id": "large", **AT, "note": "x" * 10_000_000},
    ]
    roster = written(tmp_path, "pool.json", json.dumps(entries)).fetch()
    assert [endpoint.id for endpoint in roster.endpoints] == ["good"]
    assert [each.id for each in roster.rejected] == [
        "good", "endpoints[2]", "endpoints[3]", "port", "metadata", "large",
    ]  # fmt: skip


@pytest.mark.parametrize("told", [False, True])
def test_a_config_map_that_kubernetes_swaps_is_followed(
    tmp_path: Path, told: bool, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """..data points to a folder with a date for a name; an update makes another one, and swaps the link."""
    if told:
        pytest.importorskip("watchfiles")
    volume = tmp_path / "volume"
    volume.mkdir()

    def publish(date: str, weight: float) -> None:
        (volume / date).mkdir()
        (volume / date / "pool.json").write_text(json.dumps([{"id": "a", **AT, "weight": weight}]))
        (volume / "..data_tmp").symlink_to(date)
        os.replace(volume / "..data_tmp", volume / "..data")

    publish("..2026_01_01", 1.0)
    (volume / "pool.json").symlink_to("..data/pool.json")
    source = FileDiscovery(volume / "pool.json", told=told, poll=LOOK if not told else 5.0)
    first = source.fetch()
    waits = Event()
    wait = Changes.wait

    def noting(changes: Changes, stop: Event, seconds: float) -> None:
        waits.set()
        wait(changes, stop, seconds)

    monkeypatch.setattr(Changes, "wait", noting)
    fetching = Fetching(source, first.revision, colour)
    assert waits.wait(20)
    publish("..2026_01_02", 7.0)
    assert weights(fetching.roster()) == {"a": 7.0}


def test_a_folder_that_cannot_be_watched_is_looked_at(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    with Changes(tmp_path / "not there", LOOK, told=True) as changes:
        assert repr(changes) == f"<Changes in {tmp_path / 'not there'}, looked for>"
        changes.wait(Event(), 0.001)


def test_watchfiles_is_named_with_its_extra_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "watchfiles._rust_notify", None)
    (tmp_path / "pool.json").write_text("[]")
    source = FileDiscovery(tmp_path / "pool.json", told=True)
    with pytest.raises(ImportError, match=r"langchain-cluster\[watch\]"):
        source.fetch(1)
    looking = FileDiscovery(tmp_path / "pool.json", poll=LOOK, wait=0.001)
    assert looking.fetch(1).endpoints == ()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"path": "pool.txt"}, "discovery.path: 'pool.txt': its suffix .* expected one of .yaml"),
        ({"path": "pool.yaml", "poll": 0}, "discovery.poll: 0 is not a number > 0"),
        ({"path": "pool.yaml", "wait": -1.0}, "discovery.wait: -1.0 is not"),
        ({"path": "pool.yaml", "mapping": {"wieght": "w"}}, "unknown field 'wieght'.*'weight'"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        FileDiscovery(**arguments)
