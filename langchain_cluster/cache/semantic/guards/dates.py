"""Two questions about different days, months or times of day have different answers."""

from __future__ import annotations

from langchain_cluster.cache.semantic.guards.english import listed
from langchain_cluster.cache.semantic.guards.words import Words

_DAYS = {
    "monday": "mon", "tuesday": "tue", "wednesday": "wed", "thursday": "thu", "friday": "fri",
    "saturday": "sat", "sunday": "sun", "weekday": "weekday", "weekend": "weekend",
}  # fmt: skip
_MONTHS = listed(
    """
    january february march april may june july august september october november december
    """
)
_SHORT = ["jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"]
_SEASONS = listed(
    """
    spring summer autumn winter fall christmas easter ramadan eid diwali hanukkah
    """
)
_NEAR = listed(
    """
    today tomorrow tonight yesterday daily weekly monthly yearly annually annual fortnightly overnight
    noon midnight
    """
)
_WHICH = frozenset({"next", "last", "this", "previous", "past", "coming", "following"})
_OTHER = _WHICH - {"this", "coming"}
_SPANS = frozenset({"day", "week", "month", "year", "quarter", "season", "night"})
DATES: dict[str, str] = {
    **_DAYS,
    **{f"{day}s": name for day, name in _DAYS.items()},
    **{month: month[:3] for month in _MONTHS},
    **{month: month[:3] for month in _SHORT},
    **{word: word for word in (*_SEASONS, *_NEAR)},
    "annually": "yearly",
    "annual": "yearly",
}
_VERBS = frozenset({"may", "march", "mar", "fall", "spring", "sat", "sun", "dec", "second"})


class Dates:
    """Weekdays, months, seasons, "tomorrow", "last week"."""

    name = "dates"

    def read(self, words: Words) -> frozenset[str]:
        """The dates named."""
        found = set()
        for place, token in enumerate(words.tokens):
            word = token.lower()
            # "may" and "march" are months where they are written as names, after the first word.
            if word in DATES and (word not in _VERBS or (place and token[0].isupper())):
                found.add(DATES[word])
            which = words.tokens[place - 1].lower() if place else ""
            # "This Monday" is Monday, and "this week" is not any week.
            if (word in _SPANS and which in _WHICH) or (word in _DAYS and which in _OTHER):
                found.add(f"{which} {word}")
        if {"mon", "fri"} <= found and not found & {"tue", "wed", "thu"}:
            found = (found - {"mon", "fri"}) | {"weekday"}
        return frozenset(found)

    def differ(self, one: frozenset[str], other: frozenset[str]) -> bool:
        """Whether they name other dates."""
        return one != other
