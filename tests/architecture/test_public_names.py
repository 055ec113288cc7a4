"""The public names change on purpose: adding or removing one means editing public_names.txt."""

from importlib import import_module
from pathlib import Path

import pytest

import langchain_cluster
from langchain_cluster import cache as caches

PINNED = Path(__file__).with_name("public_names.txt").read_text().split()


def test_the_public_names_are_the_pinned_ones() -> None:
    assert sorted(langchain_cluster.__all__) == PINNED


@pytest.mark.parametrize("name", PINNED)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(langchain_cluster, name)
    if isinstance(value, type) or callable(value):
        assert (value.__doc__ or "").strip()


@pytest.mark.parametrize("module", ["cache", "cache.semantic", "balancer", "guard", "discovery", "testing"])
def test_what_a_package_says_it_has_can_be_imported(module: str) -> None:
    package = import_module(f"langchain_cluster.{module}")
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize(
    "name", ["MemoryCache", "RedisCache", "LayeredCache", "ShardedCache", "SemanticCache"]
)
def test_caches_are_found_together(name: str) -> None:
    assert name in caches.__all__
    assert isinstance(getattr(caches, name), type)
    assert not hasattr(caches, f"Un{name}")


@pytest.mark.parametrize("name", ["Discovery", "Registrar"])
def test_what_a_discovery_has_to_be_is_found_with_those_there_are(name: str) -> None:
    assert isinstance(getattr(import_module("langchain_cluster.discovery"), name), type)
