"""Hours, days, weeks and months of the calendar in UTC, worked out from seconds since 1970: no clock is read.

Days are turned into years and months by Howard Hinnant's `civil_from_days`, and back by its inverse.
"""

from __future__ import annotations

from math import floor, inf
from typing import assert_never

from langchain_cluster.model.budget import Per

HOUR, DAY = 3600, 86_400  # seconds
_ERA = 146_097  # days of 400 years
_TO_1970 = 719_468  # days from the first of March of the year 0


def stretch(per: Per, at: float) -> tuple[float, float]:
    """When the hour, day, week or month of `at` begins and ends, seconds since 1970; "total" is all time."""
    match per:
        case "hour":
            return _even(at, HOUR, 0)
        case "day":
            return _even(at, DAY, 0)
        case "week":
            return _even(at, 7 * DAY, 4 * DAY)  # the first of January 1970 was a Thursday
        case "month":
            year, month = _month_of(floor(at / DAY))
            after = (year + 1, 1) if month == 12 else (year, month + 1)
            return float(_first_of(year, month) * DAY), float(_first_of(*after) * DAY)
        case "total":
            return -inf, inf
        case _:
            assert_never(per)


def _even(at: float, length: int, first: int) -> tuple[float, float]:
    begin = first + floor((at - first) / length) * length
    return float(begin), float(begin + length)


def _month_of(days: int) -> tuple[int, int]:
    era, day = divmod(days + _TO_1970, _ERA)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    of_year = day - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153  # 0 is March
    return year + era * 400 + (month >= 10), month + 3 if month < 10 else month - 9


def _first_of(year: int, month: int) -> int:
    """Days since 1970."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5
    return era * _ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _TO_1970
