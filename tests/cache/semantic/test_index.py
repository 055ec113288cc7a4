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


def test_a_small_index_becomes_a_graph_when_it_is_large() -> None:
    pytest.importorskip("usearch")
    index = Sized(16, large=50)
    for id, vector in enumerate(vectors(51)):
        assert isinstance(index._index, Exhaustive)
        index.add(id, vector)
    assert isinstance(index._index, Graph)


def test_without_usearch_a_large_index_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setitem(sys.modules, "usearch", None)
    index = Sized(16, large=4)
    given = vectors(20)
    for id, vector in enumerate(given):
        index.add(id, vector)
    assert index.nearest(given[19], 1)[0][1] == 19
