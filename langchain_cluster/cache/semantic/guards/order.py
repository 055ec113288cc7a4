"""From A to B is not from B to A, nor is who does it whom it is done to: the same words in other places."""

from __future__ import annotations

from langchain_cluster.cache.semantic.guards.english import FILLERS, IRREGULAR, STOP
from langchain_cluster.cache.semantic.guards.words import Words

_HINGES = frozenset(
    {"from", "to", "into", "in", "of", "than", "by", "over", "under", "with", "for", "before", "after"}
)
_BE = frozenset({"is", "are", "was", "were", "be", "been", "being", "get", "gets", "got"})
_DOES = frozenset({"do", "does", "did"})
_REACH = 2  # content words on either side that a hinge holds apart
Hinged = frozenset[tuple[str, str, str]]


class Order:
    """Which content words stand before and behind a preposition, or the word between them."""

    name = "order"

    def read(self, words: Words) -> Hinged:
        """(preposition or word, a word before it, a word behind it), for the words next to it."""
        found = set()
        lemmas = [lemma.rstrip("%") for lemma in words.lemmas]
        content = [n for n, word in enumerate(words.lower) if word not in STOP and word not in FILLERS]
        for place, word in enumerate(words.lower):
            if word not in _HINGES:
                continue
            before = [n for n in content if n < place][-_REACH:]
            behind = [n for n in content if n > place][:_REACH]
            found |= {(word, lemmas[a], lemmas[b]) for a in before for b in behind}
        for a, between, b in zip(content, content[1:], content[2:], strict=False):
            verb = words.lower[between]
            passive = verb.endswith(("ed", "en")) or (verb in IRREGULAR and lemmas[between] != verb)
            if not passive or not _BE & set(words.lower[:between]):
                found.add((lemmas[between], lemmas[a], lemmas[b]))
            elif "by" in words.lower[between + 1 : b]:  # "chased by the cat": it is the cat that chases
                found.add((lemmas[between], lemmas[b], lemmas[a]))
        if words.lower[:1] == ["who"] and len(content) >= 2:
            # "Who beat Brazil" asks for who does it, "who did Brazil beat" for whom it is done to.
            if words.lower[1] in _DOES:
                found.add(("who", lemmas[content[0]], ""))
            else:
                found |= {("who", "", lemmas[place]) for place in content[1:]}
        return frozenset(found)

    def differ(self, one: Hinged, other: Hinged) -> bool:
        """Whether two words have changed places around a third."""
        return any((hinge, b, a) in other and (hinge, b, a) not in one and (hinge, a, b) not in other
                   for hinge, a, b in one if a != b)  # fmt: skip
