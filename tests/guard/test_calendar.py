"""Hours, days, weeks and months are those of the calendar, leap years included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.guard.calendar import stretch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(-30_000_000_000, 30_000_000_000).map(lambda at: EPOCH + timedelta(seconds=at))


def seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()


@given(moments)
def test_every_stretch_is_the_calendars(at: datetime) -> None:
    hour = at.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    week = day - timedelta(days=day.weekday())
    month = day.replace(day=1)
    after = (month + timedelta(days=31)).replace(day=1)
    assert stretch("hour", seconds(at)) == (seconds(hour), seconds(hour) + 3600)
    assert stretch("day", seconds(at)) == (seconds(day), seconds(day) + 86_400)
    assert stretch("week", seconds(at)) == (seconds(week), seconds(week) + 7 * 86_400)
    assert stretch("month", seconds(at)) == (seconds(month), seconds(after))
    assert stretch("total", seconds(at)) == (-inf, inf)
