"""An embedder for tests: deterministic, without a model. Words that share letters are near each other."""

from __future__ import annotations

import re
from hashlib import sha256

_NEAR = {
    "recover": "reset",
    "how": "",
    "can": "",
    "do": "",
    "i": "",
    "my": "",
    "the": "",
    "a": "",
    "please": "",
}


class WordEmbeddings:
    """A text is the sum of its words' directions; words of no weight have none.

    Attributes:
        calls: how many texts were embedded.
    """

    def __init__(self, dimensions: int = 64, fingerprint: str = "words") -> None:
        self.dimensions, self.fingerprint = dimensions, fingerprint
        self.calls = 0

    def embed_query(self, text: str) -> list[float]:
        self.calls += 1
        total = [0.0] * self.dimensions
        for word in re.findall(r"\w+", text.lower()):
            word = _NEAR.get(word, word)
            if word:
                digest = sha256(word.encode()).digest() * (self.dimensions // 32 + 1)
                for place in range(self.dimensions):
                    total[place] += digest[place] - 127.5
        return total if any(total) else [1.0] * self.dimensions

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)
