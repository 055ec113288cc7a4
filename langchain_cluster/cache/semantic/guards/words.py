"""A question as words: what every guard starts from, worked out once."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

from langchain_cluster.cache.semantic.guards.english import (
    CONTRACTIONS,
    FILLERS,
    GROUPS,
    IRREGULAR,
    PHRASES,
    STOP,
)

_TOKEN = re.compile(
    r"[$£€¥]?\d[\d,.]*\d(?:%|[a-zA-Z]+)?|[$£€¥]?\d(?:%|[a-zA-Z]+)?|[^\W\d_][\w&]*(?:['’-][^\W_][\w]*)*|[^\W_]+"
)
_QUOTES = str.maketrans({"’": "'", "‘": "'", "‑": "-", "–": "-", "—": " "})


class Words:
    """The words of a text.

    Attributes:
        text: in NFKC, with plain quotes.
        tokens: words, numbers with their unit or currency; as they were written, contractions undone.
    """

    def __init__(self, text: str) -> None:
        self.text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
        self.tokens: list[str] = []
        for token in _TOKEN.findall(self.text):
            self.tokens.extend(_undone(token))

    @cached_property
    def lower(self) -> list[str]:
        """The tokens in lower case, some phrases as one word."""
        joined = " ".join(self.tokens).lower()
        for phrase, word in PHRASES:
            if phrase in joined:
                joined = re.sub(rf"\b{re.escape(phrase)}\b", word, joined)
        return joined.split()

    @cached_property
    def lemmas(self) -> list[str]:
        """The lower ones without endings, and synonyms as one."""
        return [canonical(word) for word in self.lower]

    @cached_property
    def content(self) -> list[str]:
        """The lemmas that mean something, in order."""
        pairs = zip(self.lower, self.lemmas, strict=True)
        return [lemma for word, lemma in pairs if word not in STOP and word not in FILLERS]


def _undone(token: str) -> list[str]:
    low = token.lower()
    if low in CONTRACTIONS:
        return CONTRACTIONS[low].split()
    if low.endswith("n't"):
        return [token[:-3], "not"]
    if low.endswith(("'s", "s'")):
        return [token[:-2] + ("s" if low.endswith("s'") else "")]
    for ending, word in (("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"), ("'m", "am")):
        if low.endswith(ending):
            return [token[: -len(ending)], word]
    return [token]


def canonical(word: str) -> str:
    """A word's stem, or the name of its group of synonyms. Light: wrong stems only have to agree."""
    found = _SYNONYMS.get(word)
    if found is None:
        stemmed = stem(word)
        found = _SYNONYMS.get(stemmed, stemmed)
    return found


def stem(word: str) -> str:
    """The word without a plural's or a verb's ending.

    After the first step of Porter, An algorithm for suffix stripping (1980), less eager.
    """
    word = IRREGULAR.get(word, word)
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and _vowel(word[: -len(ending)]):
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word


def _vowel(text: str) -> bool:
    return any(letter in "aeiouy" for letter in text)


def _named() -> dict[str, str]:
    """Each word of a group, and its stem, by the group's first word; a word is of the first that has it."""
    found: dict[str, str] = {}
    for group in GROUPS:
        name = next((found[word] for word in group if word in found), group[0])
        for word in group:
            found.setdefault(word, name)
            found.setdefault(stem(word), name)
    return found


_SYNONYMS = _named()
