"""Which endpoint does so much worse than its peers that it is taken out? Each rule, and each bound."""

from __future__ import annotations

from random import Random

import pytest

from langchain_cluster import OutlierPolicy
from langchain_cluster.guard.outlier import OLD, Outliers, old_after

IDS = [f"e{n}" for n in range(10)]


def outliers(**policy: object) -> Outliers:
    return Outliers(OutlierPolicy(**policy), Random(1))


def noted(watch: Outliers, id: str, results: str, now: float = 0.0) -> list[str | None]:
    """`results`: one letter per call, "." well and "x" failed."""
    return [watch.note(id, failed=letter == "x", now=now) for letter in results]


def test_so_many_failures_in_a_row_are_enough() -> None:
    watch = outliers(consecutive_failures=3, min_calls=100)
    assert noted(watch, "a", "xx.xx") == [None] * 5
    assert noted(watch, "a", "x") == ["3 failures in a row"]


def test_the_rule_of_the_row_can_be_switched_off() -> None:
    assert noted(outliers(consecutive_failures=None, min_calls=1000), "a", "x" * 50) == [None] * 50


def test_a_failure_rate_needs_enough_calls_and_a_peer() -> None:
    watch = outliers(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    assert noted(watch, "a", ".x" * 20) == [None] * 40  # alone: there is nobody to be worse than
    watch = outliers(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    noted(watch, "b", ".")
    assert noted(watch, "a", ".x" * 4) == [None] * 8
    assert noted(watch, "a", ".x")[-1] == "5 of 10 calls failed"


def test_what_left_the_window_no_longer_counts() -> None:
    watch = outliers(consecutive_failures=None, min_calls=10, window=30.0)
    noted(watch, "b", ".")
    noted(watch, "a", "x" * 9)
    assert noted(watch, "a", "x", now=31.0) == [None]


def test_far_below_its_peers_is_enough_where_there_are_many() -> None:
    watch = outliers(consecutive_failures=None, failure_rate=0.9, min_calls=20)
    for id in IDS[1:]:
        noted(watch, id, "." * 100)
    reasons = noted(watch, "e0", "." * 80 + "x" * 20)
    assert reasons[-1] == "80% of its calls succeed, 98% of all"


def test_a_good_success_rate_is_good_enough_whatever_the_peers_do() -> None:
    watch = outliers(consecutive_failures=None, failure_rate=0.9, min_calls=20)
    for id in IDS[1:]:
        noted(watch, id, "." * 200)
    assert noted(watch, "e0", "." * 192 + "x" * 8)[-1] is None  # 96 %


def test_each_ejection_is_longer_up_to_the_most() -> None:
    watch = outliers(ejection=30.0, max_ejection=70.0)
    now, lengths = 0.0, []
    for _ in range(4):
        until = watch.eject("a", of=10, now=now)
        assert until is not None
        lengths.append(until - now)
        now = until + 1.0
    assert [round(seconds, -1) for seconds in lengths] == [30, 60, 70, 70]
    assert all(
        abs(seconds / nominal - 1) <= 0.1 for seconds, nominal in zip(lengths, (30, 60, 70, 70), strict=True)
    )


def test_time_without_trouble_is_taken_off_again() -> None:
    watch = outliers(ejection=30.0)
    first = watch.eject("a", of=10, now=0.0)
    assert first is not None
    second = watch.eject("a", of=10, now=first + 1.0)
    assert second is not None
    later = watch.eject("a", of=10, now=second + 300.0)
    assert later is not None
    assert later - (second + 300.0) < 40.0  # as if it were the first


def test_never_too_many_and_never_the_last() -> None:
    watch = outliers(max_percent=50)
    out = [id for id in IDS if watch.eject(id, of=10, now=0.0) is not None]
    assert len(out) == 5
    assert outliers(max_percent=100).eject("only", of=1, now=0.0) is None
    pair = outliers(max_percent=100)
    assert pair.eject("a", of=2, now=0.0) is not None
    assert pair.eject("b", of=2, now=0.0) is None


def test_who_is_out_already_is_not_ejected_again() -> None:
    watch = outliers()
    assert watch.eject("a", of=10, now=0.0) is not None
    assert watch.eject("a", of=10, now=1.0) is None


def test_what_is_forgotten_begins_anew() -> None:
    watch = outliers(consecutive_failures=3)
    noted(watch, "a", "xx")
    watch.forget("a")
    watch.forget("never known")
    assert noted(watch, "a", "xx") == [None, None]


def test_old_calls_in_flight_add_to_the_failures_in_a_row() -> None:
    watch = outliers(consecutive_failures=5)
    assert watch.note_old("a", calls=4, age=9.0, now=0.0) is None
    assert watch.note_old("a", calls=5, age=9.0, now=0.0) == "5 calls in flight, the oldest for 9.0 s"
    noted(watch, "a", "xx")
    assert watch.note_old("a", calls=3, age=9.0, now=0.0) is not None


def test_old_calls_in_flight_add_to_the_failure_rate() -> None:
    watch = outliers(consecutive_failures=None, min_calls=20, failure_rate=0.5, window=30.0)
    noted(watch, "a", "." * 12 + "x" * 2)
    assert watch.note_old("a", calls=99, age=9.0, now=0.0) is None  # it has no peers
    noted(watch, "b", "." * 20)
    assert watch.note_old("a", calls=5, age=9.0, now=0.0) is None  # of 19
    assert watch.note_old("a", calls=9, age=9.0, now=0.0) is None  # 11 of 23
    assert watch.note_old("a", calls=10, age=9.0, now=0.0) == "10 calls in flight, the oldest for 9.0 s"
    assert watch.note_old("a", calls=19, age=9.0, now=60.0) is None  # what had ended is forgotten
    assert watch.note_old("new", calls=20, age=9.0, now=60.0) is not None


@pytest.mark.parametrize(("typical", "seconds"), [(0.0, OLD), (0.1, OLD), (1.0, 10.0)])
def test_old_is_ten_times_what_peers_take_and_two_seconds_at_least(typical: float, seconds: float) -> None:
    assert old_after(typical) == seconds


def test_its_repr_tells_whom_it_watches() -> None:
    watch = outliers()
    noted(watch, "a", ".")
    assert repr(watch) == "<Outliers 1 endpoints watched>"
