"""A question and its negation have different answers: whether there is an odd number of "not" in each."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.cache.semantic.guards.english import listed
from langchain_cluster.cache.semantic.guards.words import Words, stem

_HARD = frozenset(
    listed(
        """
    not no never none nobody nothing neither nor without nowhere hardly except unless n't
    """
    )
)
_SOFT = frozenset(listed(
    """
    unable fail failed fails failing failure stop stopped stops refuse refused refuses impossible
    missing lack lacks avoid exclude excluded excluding prevent instead
    """
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Negated:
    """Whether there is an odd number of words that negate, and those that may count as one more."""

    odd: bool
    soft: tuple[str, ...]


class Negation:
    """ "not", "no", "without"; words such as "fail" may count or not, whichever fits."""

    name = "negation"

    def read(self, words: Words) -> Negated:
        """The parity, and the words that may change it."""
        hard = sum(word in _HARD for word in words.lower)
        if words.lower and words.lower[0] == "no" and len(words.lower) > 4:
            hard -= 1  # "No, I meant ...": an answer, not a negation
        return Negated(hard % 2 == 1, tuple(sorted(stem(word) for word in words.lower if word in _SOFT)))

    def differ(self, one: Negated, other: Negated) -> bool:
        """Whether one is negated and the other is not. What may count in both counts in neither."""
        return one.odd != other.odd and one.soft == other.soft
