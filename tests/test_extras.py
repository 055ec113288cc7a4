from pathlib import Path

import pytest

from langchain_cluster.extras import need


def test_a_module_that_is_there_is_handed_over() -> None:
    import xml.dom as expected

    assert need("xml.dom", extra="cli", for_="The demo") is expected


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.asyncio"])
def test_a_missing_library_is_named_with_who_wants_it_and_what_to_type(module: str) -> None:
    with pytest.raises(ImportError) as caught:
        need(module, extra="redis", for_="RedisCache")
    assert str(caught.value) == (
        f'RedisCache needs {module}, which is not installed: pip install "langchain-cluster[redis]"'
    )
    assert caught.value.name == module


def test_a_library_that_breaks_while_it_is_imported_tells_its_own_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import its_own_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_dependency"):
        need("half_installed", extra="otel", for_="Telemetry")
