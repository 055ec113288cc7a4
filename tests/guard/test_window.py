"""A window counts what happened lately, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from langchain_cluster.guard.window import BUCKETS, CountWindow, Window


def test_it_has_ten_buckets() -> None:
    assert BUCKETS == 10


def test_a_new_window_is_empty() -> None:
    assert Window(10.0).totals(0.0) == (0, 0, 0)


def test_calls_failures_and_slow_calls_are_counted_apart() -> None:
    window = Window(10.0)
    window.add(1.0)
    window.add(1.2, failed=True)
    window.add(3.0, slow=True)
    window.add(9.9, failed=True, slow=True)
    assert window.totals(9.9) == (4, 2, 2)


def test_a_tenth_of_the_window_leaves_at_a_time() -> None:
    window = Window(10.0)
    for second in range(10):
        window.add(second + 0.5)
    assert [window.totals(9.5 + later)[0] for later in range(12)] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_an_idle_gap_forgets_everything_even_when_it_ends_in_the_same_bucket() -> None:
    window = Window(10.0)
    window.add(3.5, failed=True, slow=True)
    assert window.totals(103.5) == (0, 0, 0)
    window.add(103.5)
    assert window.totals(103.5) == (1, 0, 0)


def test_clearing_forgets_everything() -> None:
    window = Window(10.0)
    window.add(5.0, failed=True)
    window.clear()
    assert window.totals(5.0) == (0, 0, 0)


def test_a_time_that_went_backwards_counts_nothing_of_the_future() -> None:
    window = Window(10.0)
    window.add(50.0, failed=True)
    assert window.totals(45.0) == (0, 0, 0)
    assert window.totals(50.0) == (1, 1, 0)
    window.add(45.0)
    assert window.totals(45.0) == (1, 0, 0)


def test_a_width_that_is_no_round_number_still_splits_into_ten() -> None:
    window = Window(7.0)
    assert window.width * BUCKETS == 7.0
    window.add(0.0)
    assert window.totals(6.9)[0] == 1
    assert window.totals(7.0)[0] == 0


@given(
    st.lists(
        st.tuples(st.floats(0.0, 20.0), st.booleans(), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([1.0, 10.0, 30.0]),
    st.floats(0.0, 60.0),
)
def test_it_agrees_with_a_list_of_everything(
    steps: list[tuple[float, bool, bool]], seconds: float, later: float
) -> None:
    """The naive model: keep every call, count those whose bucket is one of the last ten."""
    window, now = Window(seconds), 1000.0
    width = seconds / 10
    seen: list[tuple[int, bool, bool]] = []
    for gap, failed, slow in steps:
        now += gap
        window.add(now, failed=failed, slow=slow)
        seen.append((int(now // width), failed, slow))
    end = now + later
    live = [call for call in seen if call[0] > int(end // width) - 10]
    assert window.totals(end) == (len(live), sum(c[1] for c in live), sum(c[2] for c in live))


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60), st.floats(0.0, 40.0))
def test_nothing_younger_than_nine_tenths_is_lost_and_nothing_older_than_the_whole_counts(
    gaps: list[float], later: float
) -> None:
    window, now = Window(30.0), 0.0
    times = []
    for gap in gaps:
        now += gap
        times.append(now)
        window.add(now)
    end = now + later
    calls = window.totals(end)[0]
    assert sum(end - at < 26.9 for at in times) <= calls <= sum(end - at < 30.1 for at in times)


def test_several_calls_of_one_time_are_counted_at_once() -> None:
    for window in (Window(10.0), CountWindow(100)):
        window.add(1.0, times=5)
        window.add(1.0, times=3, failed=True, slow=True)
        assert window.totals(1.0) == (8, 3, 3)


@given(st.floats(0.0, 1e6), st.sampled_from([0.1, 7.0, 30.0]))
def test_a_time_lies_within_its_bucket(now: float, seconds: float) -> None:
    begins, ends = Window(seconds).bucket(now)
    slack = 1e-9 * (1.0 + now)
    assert begins - slack <= now < ends + slack
    assert abs(ends - begins - seconds / BUCKETS) <= slack


def test_a_window_of_calls_forgets_the_oldest() -> None:
    window = CountWindow(3)
    assert window.totals(0.0) == (0, 0, 0)
    window.add(0.0, failed=True)
    window.add(0.0, slow=True)
    window.add(0.0, failed=True, slow=True)
    assert window.totals(0.0) == (3, 2, 2)
    window.add(0.0)
    assert window.totals(0.0) == (3, 1, 2)
    window.add(0.0)
    assert window.totals(0.0) == (3, 1, 1)
    window.add(0.0, times=10**9)  # takes no longer than three
    assert window.totals(0.0) == (3, 0, 0)
    window.clear()
    assert window.totals(0.0) == (0, 0, 0)
    assert window.bucket(5.0) == (float("-inf"), float("inf"))


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 12)), max_size=40),
)
def test_a_window_of_calls_agrees_with_a_list_of_everything(
    size: int, steps: list[tuple[bool, bool, int]]
) -> None:
    window = CountWindow(size)
    seen: list[tuple[bool, bool]] = []
    for failed, slow, times in steps:
        window.add(0.0, failed=failed, slow=slow, times=times)
        seen = (seen + [(failed, slow)] * times)[-size:]
        assert window.totals(0.0) == (len(seen), sum(c[0] for c in seen), sum(c[1] for c in seen))
