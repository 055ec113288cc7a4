"""Two questions about different people have different answers: my password is not my colleague's."""

from __future__ import annotations

from langchain_cluster.cache.semantic.guards.english import listed
from langchain_cluster.cache.semantic.guards.words import Words, canonical

_WHO = listed(
    """
    adult child baby infant toddler teenager teen minor senior pensioner parent mother father son
    daughter brother sister husband wife partner spouse friend colleague boss manager neighbour neighbor
    grandparent grandmother grandfather man woman boy girl student pupil teacher tenant landlord renter
    homeowner employee contractor freelancer self-employed unemployed customer visitor resident guest
    member non-member nonmember patient carer veteran citizen foreigner tourist passenger driver owner
    admin administrator owner buyer seller applicant sponsor nonprofit charity business couple family
    person beginner expert teammate accountant
    """
)
_PEOPLE = frozenset(canonical(word) for word in _WHO) - {"person", "company"}


class People:
    """Family, roles and ages, and whose things they are."""

    name = "people"

    def read(self, words: Words) -> frozenset[str]:
        """Who is spoken of beside the one who asks."""
        found = set()
        for word, lemma in zip(words.lower, words.lemmas, strict=True):
            if lemma in _PEOPLE:
                found.add(lemma)
            elif "-" in word and canonical(word.rpartition("-")[2]) in _PEOPLE:
                found.add(word)
        return frozenset(found)

    def differ(self, one: frozenset[str], other: frozenset[str]) -> bool:
        """Whether they speak of others."""
        return one != other
