"""Indexes find the nearest, forget what is removed, and change their kind when they have grown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")

from langchain_cluster.cache.semantic.index import Exhaustive, Graph, Sized  # noqa: E402


def vectors(count: int, dimensions: int = 16) -> Any:
    made = numpy.random.default_rng(3).standard_normal((count, dimensions)).astype(numpy.float32)
    return made / numpy.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(params=["exhaustive", "graph", "sized"])
def index(request: pytest.FixtureRequest) -> Any:
    if request.param == "exhaustive":
        return Exhaustive(16)
    pytest.importorskip("usearch")
    return Graph(16) if request.param == "graph" else Sized(16, large=50)


def test_the_nearest_is_found_and_what_is_removed_is_not(index: Any) -> None:
    assert index.nearest(vectors(1)[0], 3) == []
    given = vectors(120)
    for id, vector in enumerate(given):
        index.add(id + 100, vector)
    assert len(index) == 120
    for place in (0, 57, 119):
        found = index.nearest(given[place], 3)
        assert len(found) == 3
        assert found[0][1] == place + 100
        assert found[0][0] == pytest.approx(1.0, abs=1e-5)
        assert found == sorted(found, reverse=True)
        index.remove(place + 100)
        assert index.nearest(given[place], 1)[0][1] != place + 100
    index.remove(7)
    assert len(index) == 117


def test_a_vector_under_a_known_id_replaces_the_old_one(index: Any) -> None:
    first, second = vectors(2)
    index.add(1, first)
    index.add(1, second)
    assert len(index) == 1
    assert index.nearest(second, 2)[0][0] == pytest.approx(1.0, abs=1e-5)


def test_a_small_index_becomes_a_graph_step_by_step_and_finds_all_meanwhile() -> None:
    pytest.importorskip("usearch")
    index, given = Sized(16, large=50), vectors(60)
    for id, vector in enumerate(given):
        index.add(id, vector)
        assert len(index) == id + 1
        assert (index._graph is None) == (id < 50)
        for known in {0, id // 2, id}:
            assert index.nearest(given[known], 2)[0][1] == known
    assert len(index._all) == 0, "all have moved"
    index.remove(3)
    assert index.nearest(given[3], 1)[0][1] != 3


def test_what_is_removed_or_replaced_while_it_grows_is_not_found_again() -> None:
    pytest.importorskip("usearch")
    index, given = Sized(16, large=50), vectors(60)
    for id in range(52):
        index.add(id, given[id])
    index.remove(0)
    index.remove(50)
    index.add(1, given[55])
    assert len(index) == 50
    assert index.nearest(given[55], 1)[0][1] == 1
    assert not {0, 50} & {id for _, id in index.nearest(given[0], 60)}


def test_without_usearch_a_large_index_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setitem(sys.modules, "usearch", None)
    index = Sized(16, large=4)
    given = vectors(20)
    for id, vector in enumerate(given):
        index.add(id, vector)
    assert index.nearest(given[19], 1)[0][1] == 19
