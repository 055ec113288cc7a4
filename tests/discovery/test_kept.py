"""Rosters on disk: what is written is read again, and what was not written is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from langchain_cluster import Endpoint, Price
from langchain_cluster.discovery.kept import KeptRosters
from langchain_cluster.errors import ConfigError, DiscoveryError

ROSTER = (
    Endpoint("a", url="http://10.0.0.1:8000/v1", weight=2.0, zone="z", tags=frozenset({"fast"})),
    Endpoint("b", url="https://[fd00::1]/v1", price=Price(1.0, 2.0), metadata={"model": "llama"}),
)


def test_a_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "roster"
    KeptRosters(path, now=lambda: 1000.0).save("registry 0", ROSTER)
    kept = KeptRosters(path, now=lambda: 1060.0).load("registry 0")
    assert kept is not None
    endpoints, age = kept
    assert age == 60.0
    assert [(e.id, e.url, e.weight, e.zone, e.price) for e in endpoints] == [
        (e.id, "https://[fd00::1]:443/v1" if e.id == "b" else e.url, e.weight, e.zone, e.price)
        for e in ROSTER
    ]
    assert endpoints[1].metadata["model"] == "llama"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["roster"]


def test_every_source_has_its_own(tmp_path: Path) -> None:
    KeptRosters(tmp_path / "roster").save("one", ROSTER[:1])
    KeptRosters(tmp_path / "roster").save("two", ROSTER[1:])
    kept = KeptRosters(tmp_path / "roster")
    assert [kept.load(name) and kept.load(name)[0][0].id for name in ("one", "two", "three")] == [  # type: ignore[index]
        "a", "b", None,
    ]  # fmt: skip


def test_the_same_roster_is_not_written_again(tmp_path: Path) -> None:
    kept = KeptRosters(tmp_path / "roster")
    kept.save("one", ROSTER)
    before = (tmp_path / "roster").stat().st_mtime_ns, (tmp_path / "roster").stat().st_ino
    kept.save("one", ROSTER)
    assert before == ((tmp_path / "roster").stat().st_mtime_ns, (tmp_path / "roster").stat().st_ino)


def test_nothing_was_kept_before_the_first_time(tmp_path: Path) -> None:
    assert KeptRosters(tmp_path / "roster").load("one") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-5],
        lambda raw: raw.replace(b"10.0.0.1", b"10.6.6.6"),
        lambda raw: b"",
        lambda raw: b"\xff\xfe" + raw,
        lambda raw: raw.partition(b"\n")[2],
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_not_used(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "roster"
    KeptRosters(path).save("one", ROSTER)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DiscoveryError, match="its checksum is wrong"):
        KeptRosters(path).load("one")
    KeptRosters(path).save("one", ROSTER)  # and is written over
    assert KeptRosters(path).load("one") is not None


def test_a_poisoned_entry_of_a_file_is_left_out(tmp_path: Path) -> None:
    kept = KeptRosters(tmp_path / "roster")
    kept.save("one", [*ROSTER, Endpoint("c", url="http://169.254.169.254"), Endpoint("no url")])
    loaded = kept.load("one")
    assert loaded is not None
    assert [endpoint.id for endpoint in loaded[0]] == ["a", "b"]


def test_what_cannot_be_written_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "roster").mkdir()
    with pytest.raises(DiscoveryError, match="it cannot be written"):
        KeptRosters(tmp_path / "roster").save("one", ROSTER)
    assert os.listdir(tmp_path) == ["roster"]
    with pytest.raises(DiscoveryError, match="it cannot be read"):
        KeptRosters(tmp_path / "roster").load("one")


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stability.keep: .*nowhere is not a folder"):
        KeptRosters(tmp_path / "nowhere" / "roster")
    assert repr(KeptRosters(tmp_path / "r")) == f"KeptRosters({str(tmp_path / 'r')!r})"
