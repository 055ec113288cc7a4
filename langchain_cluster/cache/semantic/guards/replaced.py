"""One word replaced by an unrelated one makes another question: the chicken dish, the beef dish.

Unrelated is what is neither a synonym, nor another form of the word, nor a slip of the pen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from langchain_cluster.cache.semantic.guards.dates import DATES
from langchain_cluster.cache.semantic.guards.english import FILLERS, STOP
from langchain_cluster.cache.semantic.guards.numbers import NUMERALS, SPANS
from langchain_cluster.cache.semantic.guards.words import Words, stem

_SLIP = 5  # letters a word has at least for one wrong letter to be a slip
_SLIPS = 8  # and for two


@dataclass(frozen=True, slots=True)
class Content:
    """The content words, how often each occurs, and the stem each synonym stands for."""

    counts: Counter[str]
    stems: dict[str, str]


class Replaced:
    """Exactly one content word is another. Numbers and dates are for others to compare."""

    name = "replaced"

    def read(self, words: Words) -> Content:
        """The content words."""
        counts: Counter[str] = Counter()
        stems: dict[str, str] = {}
        counted = False  # the word before was a number, and this one is its unit
        for word, lemma in zip(words.lower, words.lemmas, strict=True):
            unit, counted = counted and lemma in SPANS, word in NUMERALS or word[0].isdigit()
            if unit or word in STOP or word in FILLERS:
                continue
            parts = (
                [(lemma, stem(word))]
                if "-" not in word
                else [(part, part) for part in word.split("-") if part]
            )
            for part, short in parts:
                if part not in NUMERALS and part not in DATES and not part[0].isdigit():
                    counts[part] += 1
                    stems[part] = short
        return Content(counts, stems)

    def differ(self, one: Content, other: Content) -> bool:
        """Whether each has one word that the other has not, and the two have nothing in common."""
        less, more = one.counts - other.counts, other.counts - one.counts
        if less.total() != 1 or more.total() != 1:
            return False
        first, second = next(iter(less)), next(iter(more))
        return not (related(first, second) or related(one.stems[first], other.stems[second]))


def related(one: str, other: str) -> bool:
    """Whether two words are forms of one, or one is the other with a slip of the pen."""
    short, long = sorted((one, other), key=len)
    if len(short) >= 4 and long.startswith(short[: max(4, len(short) - 2)]):
        return True
    if one[:1] != other[:1] or len(short) < _SLIP - 1 or any(word[:1].isdigit() for word in (one, other)):
        return False
    return distance(one, other) <= (2 if len(long) >= _SLIPS else 1 if len(long) >= _SLIP else 0)


def distance(one: str, other: str) -> int:
    """Letters left out, put in, changed or exchanged with the next (Damerau's optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
