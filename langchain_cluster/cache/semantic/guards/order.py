"""From A to B is not from B to A: the same words in other places."""

from __future__ import annotations

from langchain_cluster.cache.semantic.guards.english import FILLERS, STOP
from langchain_cluster.cache.semantic.guards.words import Words

_HINGES = frozenset(
    {"from", "to", "into", "in", "than", "by", "over", "under", "with", "for", "before", "after"}
)
_REACH = 2  # content words on either side that a hinge holds apart
Hinged = frozenset[tuple[str, str, str]]


class Order:
    """Which content words stand before and behind a preposition."""

    name = "order"

    def read(self, words: Words) -> Hinged:
        """(preposition, a word before it, a word behind it), for the words next to it."""
        found = set()
        content = [word not in STOP and word not in FILLERS for word in words.lower]
        for place, word in enumerate(words.lower):
            if word not in _HINGES:
                continue
            before = [n for n in range(place) if content[n]][-_REACH:]
            behind = [n for n in range(place + 1, len(content)) if content[n]][:_REACH]
            found |= {(word, words.lemmas[a], words.lemmas[b]) for a in before for b in behind}
        return frozenset(found)

    def differ(self, one: Hinged, other: Hinged) -> bool:
        """Whether two words have changed places around a preposition."""
        return any((hinge, b, a) in other and (hinge, b, a) not in one and (hinge, a, b) not in other
                   for hinge, a, b in one if a != b)  # fmt: skip
