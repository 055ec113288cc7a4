"""The embeddings format of OpenAI, with vectors that are a function of the text alone.

A vector is the sum of one random direction per word and a short one for the whole text: equal texts
have equal vectors, texts that share words are near each other, others are about orthogonal.
"""

from __future__ import annotations

import base64
import hashlib
import math
from array import array
from functools import lru_cache
from typing import Any

import orjson

from langchain_cluster.testing.simulated.dialect import Unreadable

__all__ = ["embed", "vector"]

_WHOLE = 0.2  # weight of the text as such, so that "dog bites man" is not "man bites dog"


def embed(body: dict[str, Any], dimensions: int) -> bytes:
    """Raises: Unreadable."""
    given = body.get("input")
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    if not isinstance(body.get("model"), str) or not all(isinstance(text, str | list) for text in texts):
        raise Unreadable("you must provide a model and an input")
    size = body.get("dimensions") or dimensions
    as_base64 = body.get("encoding_format") == "base64"
    data = []
    used = 0
    for index, text in enumerate(texts):
        words = text.lower().split() if isinstance(text, str) else [str(token) for token in text]
        numbers = vector(words, size)
        used += len(words)
        shown: Any = numbers.tolist()
        if as_base64:  # the SDKs read little-endian float32, as this machine and every GPU host writes
            shown = base64.b64encode(numbers.tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": used, "total_tokens": used}
    return orjson.dumps({"object": "list", "data": data, "model": body["model"], "usage": usage})


def vector(words: list[str], size: int) -> array[float]:
    """Returns `size` float32 of unit length."""
    total = [_WHOLE * value for value in _direction("\0".join(words), size)]
    for word in words:
        total = [a + b for a, b in zip(total, _direction(word, size), strict=True)]
    length = math.hypot(*total) or 1.0
    return array("f", [value / length for value in total])


@lru_cache(maxsize=4096)
def _direction(word: str, size: int) -> tuple[float, ...]:
    raw = array("h", hashlib.shake_128(word.encode()).digest(2 * size))
    length = math.hypot(*raw) or 1.0
    return tuple(value / length for value in raw)
