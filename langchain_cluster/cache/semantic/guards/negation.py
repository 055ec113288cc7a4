"""A question and its negation have different answers: whether there is an odd number of "not" in each."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_cluster.cache.semantic.guards.english import listed
from langchain_cluster.cache.semantic.guards.words import Words

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
    """Whether a question may be read as negated, and as not negated."""

    readings: frozenset[bool]


class Negation:
    """ "not", "no", "without"; words such as "fail" may count or not, whichever fits."""

    name = "negation"

    def read(self, words: Words) -> Negated:
        """The parities the question may be read with."""
        hard = sum(word in _HARD for word in words.lower)
        soft = sum(word in _SOFT for word in words.lower)
        if words.lower and words.lower[0] == "no" and len(words.lower) > 4:
            hard -= 1  # "No, I meant ...": an answer, not a negation
        return Negated(frozenset({hard % 2 == 1, (hard + soft) % 2 == 1}))

    def differ(self, one: Negated, other: Negated) -> bool:
        """Whether no reading of the one is a reading of the other."""
        return not one.readings & other.readings
