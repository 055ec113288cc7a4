"""Who may leave, answer by answer."""

from __future__ import annotations

from typing import Any

from langchain_cluster.guard.steady import BACK, CONFIRMED, DRAINED, EMPTY, FLAPS, SHARE, Decision, Steady
from langchain_cluster.model.endpoint import Endpoint
from langchain_cluster.model.stability import StabilityPolicy


class Source:
    def __init__(self, policy: StabilityPolicy | None) -> None:
        self.steady = Steady(policy)
        self.now = 0.0
        self.drained: set[str] = set()
        self.decisions: list[Decision] = []

    def says(self, *ids: str) -> list[str]:
        self.now += 1.0
        sweep = self.steady.sweep([Endpoint(id) for id in ids], self.now, self.drained.__contains__)
        self.decisions += sweep.decisions
        believed = [endpoint.id for endpoint in sweep.endpoints]
        assert sweep.holds is (set(believed) != set(ids))
        return sorted(believed)


def source(**policy: Any) -> Source:
    return Source(StabilityPolicy(**policy))


HUNDRED = [f"e{n:02d}" for n in range(100)]


def test_who_joins_is_believed_at_once() -> None:
    says = source().says
    assert says() == []
    assert says("a") == ["a"]
    assert says("a", "b", "c") == ["a", "b", "c"]


def test_an_empty_answer_is_believed_when_it_was_given_often_enough() -> None:
    each = source(max_shrink=1.0)
    assert each.says("a", "b") == ["a", "b"]
    assert each.says() == ["a", "b"]
    assert each.says() == ["a", "b"]
    assert each.says() == []
    assert each.decisions == [
        Decision(("a", "b"), True, EMPTY),
        Decision(("a", "b"), False, CONFIRMED),
    ]


def test_an_answer_between_two_empty_ones_begins_the_count_anew() -> None:
    each = source(max_shrink=1.0)
    each.says("a")
    assert each.says() == each.says() == ["a"]
    assert each.says("a") == ["a"]
    assert each.says() == each.says() == ["a"]
    assert Decision(("a",), False, BACK) in each.decisions


def test_an_empty_answer_can_be_never_believed() -> None:
    each = source(confirm_empty=None)
    each.says("a")
    assert [each.says() for _ in range(50)] == [["a"]] * 50


def test_no_sweep_takes_more_than_its_share() -> None:
    each = source()
    each.says(*HUNDRED)
    sizes = [len(each.says(*HUNDRED[:50])) for _ in range(6)]
    assert sizes == [85, 73, 63, 54, 50, 50]
    assert each.decisions[0] == Decision(tuple(HUNDRED[65:]), True, SHARE)
    assert each.says(*HUNDRED[:50]) == HUNDRED[:50]


def test_one_may_always_leave() -> None:
    each = source()
    each.says("a", "b", "c")
    assert each.says("a") == ["a", "c"]
    assert each.says("a") == ["a"]


def test_who_is_gone_longest_leaves_first() -> None:
    each = source()
    each.says("a", "b", "c", "d")
    assert each.says("c", "d") == ["b", "c", "d"]
    assert each.says("d") == ["c", "d"]
    assert each.says("d") == ["d"]


def test_who_is_drained_leaves_at_once_beside_the_share() -> None:
    each = source()
    each.says(*HUNDRED)
    each.drained |= set(HUNDRED[40:])
    assert each.says(*HUNDRED[:40]) == HUNDRED[:40]
    assert each.decisions == []


def test_who_is_drained_while_it_is_held_leaves() -> None:
    each = source()
    each.says("a", "b")
    assert each.says() == ["a", "b"]
    each.drained.add("a")
    assert each.says() == ["b"]
    assert each.decisions[-1] == Decision(("a",), False, DRAINED)


def test_who_comes_and_goes_stays_longer_each_time() -> None:
    each = source(flaps=2)

    def answers_until_it_leaves() -> int:
        assert each.says("a", "b") == ["a", "b"]
        count = 1
        while each.says("a") != ["a"]:
            count += 1
        return count

    assert [answers_until_it_leaves() for _ in range(5)] == [1, 1, 2, 4, 8]
    assert Decision(("b",), True, FLAPS) in each.decisions


def test_who_has_stayed_for_long_may_leave_at_once_again() -> None:
    each = source(flaps=1)
    for _ in range(3):
        each.says("a", "b")
        while each.says("a") != ["a"]:
            pass
    each.says("a", "b")
    each.now += 61.0
    assert each.says("a") == ["a"]


def test_a_roster_of_former_times_is_defended_too() -> None:
    each = source()
    each.steady.restore([Endpoint("a"), Endpoint("b")])
    assert each.says() == ["a", "b"]
    assert each.says("b", "c") == ["b", "c"]


def test_without_a_policy_everything_is_believed() -> None:
    each = Source(None)
    each.says(*HUNDRED)
    assert each.says() == []
    assert each.decisions == []


def test_a_repr_tells_the_state() -> None:
    each = source()
    each.says("a")
    each.says()
    assert repr(each.steady) == "<Steady 1 endpoints, 1 of them held>"
