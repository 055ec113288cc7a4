"""When an answer is a new roster."""

from __future__ import annotations

from typing import Any

from langchain_cluster.discovery.known import Known
from langchain_cluster.model.endpoint import Endpoint, Load, Rejected

A, B = (Endpoint("a"),), (Endpoint("b"),)
NOTHING: Any = {}


def test_a_revision_moves_when_anything_of_the_roster_does() -> None:
    known = Known()
    assert repr(known) == "nothing known yet"
    answers: list[Any] = [
        (A, (), NOTHING),
        ((Endpoint("a"),), (), NOTHING),
        (A, (Rejected("x", "why"),), NOTHING),
        (A, (Rejected("x", "why"),), {"a": Load(queued=1)}),
        (B, (), NOTHING),
    ]
    seen = []
    for answer in answers:
        roster = known.settle(*answer, began=known.answers)
        assert roster is not None
        assert roster is known.roster
        seen.append(roster.revision)
    assert seen == [1, 1, 2, 3, 4]


def test_an_answer_that_was_overtaken_has_to_be_asked_for_again() -> None:
    known = Known()
    known.settle(A, (), NOTHING, began=0)
    began = known.answers
    newer = known.settle(B, (), NOTHING, began=began)
    assert known.settle(A, (), NOTHING, began=began) is None
    assert known.roster is newer
