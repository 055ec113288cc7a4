"""Every config that is shown is one that can be read."""

import re
from pathlib import Path

import pytest

from langchain_cluster.config import load

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples" / "config").iterdir())
DEPLOYED = sorted((ROOT / "integrations").glob("*/cluster.yaml"))
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(yaml|toml|json)\b[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    assert load(path).endpoints


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.parent.name)
def test_a_config_of_an_integration_is_valid(path: Path) -> None:
    config = load(path)
    assert config.endpoints or (config.discovery and config.factory)


def test_the_example_is_the_same_in_three_languages() -> None:
    one, *others = [load(path).model_dump() for path in FILES if path.stem == "cluster"]
    assert others == [one, one]


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[text[:40] for _, text in BLOCKS])
def test_what_the_page_shows_is_valid(tmp_path: Path, language: str, text: str) -> None:
    path = tmp_path / f"cluster.{language}"
    path.write_text(text, encoding="utf-8")
    assert load(path).endpoints


def test_the_page_names_every_key() -> None:
    from langchain_cluster.config.cache import LayeredConfig, MemoryConfig, RedisConfig, ShardedConfig
    from langchain_cluster.config.endpoint import EndpointConfig
    from langchain_cluster.config.schema import ClusterConfig
    from langchain_cluster.model.policy import BreakerPolicy

    caches = (MemoryConfig, RedisConfig, LayeredConfig, ShardedConfig)
    for model in (ClusterConfig, EndpointConfig, *caches):
        for name in model.model_fields:
            assert re.search(rf"\b{name}\b", PAGE), f"{model.__name__}.{name}"
    assert len(BLOCKS) >= 4
    assert load({"endpoints": [{"id": "a", "model": "scripted:x"}]}).breaker == BreakerPolicy()
