"""What is made of an answer's entries, and what is kept of it for the next."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from langchain_cluster.discovery.entry import FIELDS, Entry
from langchain_cluster.discovery.reading import Reading
from langchain_cluster.model.endpoint import Load, Rejected


def entry(id: str, **said: str) -> Entry:
    return Entry(id, "10.0.0.1", 8000, said)


def test_an_entry_that_says_the_same_is_the_same_endpoint() -> None:
    reading = Reading()
    (a, b), _, _ = reading.read([entry("a"), entry("b")])
    (again, other), _, _ = reading.read([entry("a"), entry("b", weight="2")])
    assert again is a
    assert (b.weight, other.weight) == (1.0, 2.0)
    assert repr(reading) == "<Reading, 2 endpoints>"


def test_a_load_is_told_though_its_entry_says_the_same() -> None:
    reading = Reading()
    (a,), _, loads = reading.read([entry("a")])
    assert not loads
    (again,), _, loads = reading.read([replace(entry("a"), load=Load(queued=3))])
    assert again is a
    assert loads == {"a": Load(queued=3)}


def test_who_was_away_or_was_left_out_is_read_anew() -> None:
    reading = Reading()
    (a,), _, _ = reading.read([entry("a")])
    assert reading.read([]) == ((), (), {})
    (again,), _, _ = reading.read([entry("a")])
    assert again is not a
    for _ in range(2):  # what was wrong with it is told each time
        endpoints, rejected, _ = reading.read([entry("a", weight="many"), Rejected("b", "why")])
        assert endpoints == ()
        assert [each.id for each in rejected] == ["a", "b"]


def test_an_id_that_is_no_text_costs_nobody_else_anything() -> None:
    nobody: Any = [["a"], {}, None]
    endpoints, rejected, _ = Reading().read([*(entry(id) for id in nobody), entry("b")])
    assert [one.id for one in endpoints] == ["b"]
    assert len(rejected) == 3


def test_the_first_of_an_id_wins_and_the_same_one_does_each_time() -> None:
    reading = Reading()
    for _ in range(2):
        (a,), rejected, _ = reading.read([entry("a", weight="1"), entry("a", weight="2")])
        assert a.weight == 1.0
        assert rejected == (Rejected("a", "another one has its id"),)


def test_what_is_kept_never_differs_from_what_would_be_made_anew() -> None:
    rng, reading = Random(7), Reading(FIELDS)
    weights = ["1", "2", "many", "nan", ""]
    for _ in range(200):
        entries = [entry(f"e{rng.randrange(8)}", weight=rng.choice(weights)) for _ in range(6)]
        assert reading.read(entries) == Reading(FIELDS).read(entries)
