"""Two questions about different people, places, products or codes have different answers.

What is written as a name in one has to occur in the other, in whatever case: many write without capitals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from langchain_cluster.cache.semantic.guards.dates import DATES
from langchain_cluster.cache.semantic.guards.english import FILLERS, STOP
from langchain_cluster.cache.semantic.guards.words import Words, canonical

_SENTENCE = re.compile(r"[.!?:;]\s+|\n")
_CODE = re.compile(r"[^\s@]+@[^\s@]+|https?://\S+|\b(?=\w*\d)(?=\w*[a-zA-Z])[\w-]{3,}\b|\b\w+(?:_\w+)+\b")
_NUMBERED = re.compile(r"^[\d.,]+[a-zA-Z%]{1,5}$|^\d+-[a-zA-Z]+(?:-[a-zA-Z]+)?$")
_COMMON = 0.6  # of the words: where so many begin with a capital, a capital says nothing


@dataclass(frozen=True, slots=True)
class Named:
    """The names in a question, and every word of it, by which others' names are found in it."""

    names: frozenset[str]
    words: frozenset[str]


class Names:
    """Proper nouns, acronyms, addresses, product codes."""

    name = "names"

    def read(self, words: Words) -> Named:
        """The names, and all words."""
        found = set()
        for sentence in _SENTENCE.split(words.text):
            tokens = Words(sentence).tokens
            letters = [token for token in tokens if token[0].isalpha()]
            capitals = [token for token in letters if token[0].isupper()]
            if len(letters) > 2 and len(capitals) > _COMMON * len(letters):
                continue
            for place, token in enumerate(tokens):
                low = token.lower()
                if place and len(token) == 1 and token.isupper() and token != "I":
                    found.add(low)  # terminal A, vitamin C
                    continue
                if not token[0].isupper() or low in STOP or low in FILLERS or len(token) < 2:
                    continue
                if low in DATES:
                    continue
                if place or token.isupper() or any(letter.isupper() for letter in token[1:]):
                    found.add(low)
        codes = {code.lower() for code in _CODE.findall(words.text) if not _NUMBERED.match(code)}
        known = {*words.lower, *words.lemmas, *(token.lower() for token in words.tokens), *codes}
        known |= {part for word in known for part in word.split("-")}
        initials = "".join(word[0] for word in words.lower if word not in STOP)
        known |= {
            initials[a:b] for a in range(len(initials)) for b in range(a + 2, min(len(initials), a + 6) + 1)
        }
        return Named(frozenset(found | codes), frozenset(known))

    def differ(self, one: Named, other: Named) -> bool:
        """Whether a name in one of them does not occur in the other."""
        return _lacks(one.names, other.words) or _lacks(other.names, one.words)


def _lacks(names: frozenset[str], words: frozenset[str]) -> bool:
    return any(not _occurs(name, words) for name in names)


def _occurs(name: str, words: frozenset[str]) -> bool:
    if name in words or canonical(name) in words or name.rstrip("s") in words:
        return True
    # "Anglo-French" is French too, but AB-1234 is not AB-1235.
    parts = name.split("-")
    return len(parts) > 1 and name.replace("-", "").isalpha() and any(part in words for part in parts)
