"""Two questions with different numbers have different answers: 14 days are two weeks, and not 40 days."""

from __future__ import annotations

import re

from langchain_cluster.cache.semantic.guards.english import listed
from langchain_cluster.cache.semantic.guards.words import Words

_UNITS = listed(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
    """
)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES: dict[str, float] = {
    **{word: n for n, word in enumerate(_UNITS, 1)},
    **{word: 10 * n for n, word in enumerate(_TENS, 2)},
    "zero": 0, "half": 0.5, "dozen": 12, "single": 1, "twice": 2, "double": 2, "triple": 3,
}  # fmt: skip
_SCALES = {"hundred": 100.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3, "m": 1e6}
_ORDINALS = {
    word: n
    for n, word in enumerate(
        listed(
            """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    """
        ),
        1,
    )
}
SPANS = {"day": 1.0, "week": 7.0, "month": 30.0, "year": 365.0, "yr": 365.0, "hour": 1 / 24, "hr": 1 / 24}
_NUMBER = re.compile(r"^[$£€¥]?(\d[\d.,]*)(.*)$")
NUMERALS = frozenset({*_VALUES, *_ORDINALS, "hundred", "thousand", "million", "billion", "fortnight"})
_ALONE = frozenset({1.0})  # "one egg" is an egg, and "which one" no number at all


class Numbers:
    """Numbers in figures and in words, times of day, lengths of time."""

    name = "numbers"

    def read(self, words: Words) -> frozenset[float | str]:
        """The numbers; lengths of time in days."""
        lower = [part for word in words.lower for part in word.split("-") if part]
        found: list[float | str] = []
        place = 0
        while place < len(lower):
            number, used, unit = _number(lower, place)
            if number is None:
                place += 1
                continue
            place += used
            if isinstance(number, str):
                found.append(number)
                continue
            after = unit or (lower[place] if place < len(lower) else "")
            if after in ("am", "pm", "a.m", "p.m") and number <= 12:
                found.append(f"{number % 12 + (12 if after[0] == 'p' else 0):g} o'clock")
            elif after.rstrip("s") in SPANS and not unit.startswith("m"):
                found.append(f"{number * SPANS[after.rstrip('s')]:g} days")
            else:
                found.append(number)
        return frozenset(found)

    def differ(self, one: frozenset[float | str], other: frozenset[float | str]) -> bool:
        """Whether they are not the same numbers. A lone "one" is none where the other has none."""
        if one == other:
            return False
        return not (one <= _ALONE and other <= _ALONE)


def _number(words: list[str], place: int) -> tuple[float | str | None, int, str]:
    """(the number that begins at `place`, how many words it is, a unit that is written to it)."""
    figures = _NUMBER.match(words[place])
    if figures is not None:
        digits = figures[1].rstrip(".,")
        whole = digits.replace(",", "")
        try:
            value = float(whole)
        except ValueError:  # a version, a date, an address
            return words[place], 1, ""
        unit = figures[2]
        if unit in ("st", "nd", "rd", "th", "%"):
            unit = ""
        if unit in _SCALES:
            return value * _SCALES[unit], 1, ""
        if place + 1 < len(words) and words[place + 1] in ("hundred", "thousand", "million", "billion"):
            return value * _SCALES[words[place + 1]], 2, ""
        return value, 1, unit
    word = words[place]
    if word in _ORDINALS:
        return float(_ORDINALS[word]), 1, ""
    if word == "fortnight":
        return 14.0, 1, "days"
    if word not in _VALUES:
        return (_SCALES[word] if word in ("hundred", "thousand", "million") else None), 1, ""
    total, current, used = 0.0, 0.0, 0
    while place + used < len(words):
        word = words[place + used]
        if word in _VALUES and not (used and word == "single"):
            current += _VALUES[word]
        elif word in ("hundred", "thousand", "million", "billion") and used:
            current = (current or 1.0) * _SCALES[word]
            if word != "hundred":
                total, current = total + current, 0.0
        else:
            break
        used += 1
    return total + current, used, ""
