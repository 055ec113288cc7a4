"""Which pairs of questions each guard tells apart, and which it lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_cluster.cache.semantic.guards import ENGLISH, Guards, Words
from langchain_cluster.cache.semantic.guards.replaced import distance

BY_NAME = {guard.name: guard for guard in ENGLISH}
DIFFERENT = [
    ("numbers", "Is there a fine after 3 days?", "Is there a fine after 30 days?"),
    ("numbers", "Seats for two people", "Seats for five people"),
    ("numbers", "Wake me at 6am", "Wake me at 6pm"),
    ("numbers", "What is 7.5% of it?", "What is 75% of it?"),
    ("numbers", "A loan over two years", "A loan over two months"),
    ("numbers", "Which version is 1.2.3?", "Which version is 1.2.4?"),
    ("numbers", "The first floor flat", "The third floor flat"),
    ("dates", "Trains on Tuesday", "Trains on Thursday"),
    ("dates", "Prices in May", "Prices in June"),
    ("dates", "Sales last week", "Sales next week"),
    ("dates", "Is there snow this weekend?", "Is there snow next weekend?"),
    ("dates", "Open today?", "Open tomorrow?"),
    ("names", "How far is Lisbon?", "How far is Porto?"),
    ("names", "Is the VAT due?", "Is the GST due?"),
    ("names", "Where is order AB-1234?", "Where is order AB-1235?"),
    ("names", "Mail ann@example.org", "Mail bob@example.org"),
    ("negation", "Which rooms have a bath?", "Which rooms don't have a bath?"),
    ("negation", "Coffee with milk", "Coffee without milk"),
    ("antonyms", "How do I enable alerts?", "How do I disable alerts?"),
    ("antonyms", "Is the shop open?", "Is the shop closed?"),
    ("antonyms", "Is it reversible?", "Is it irreversible?"),
    ("antonyms", "Fees for members", "Fees for non-members"),
    ("people", "Reset my son's password", "Reset my password"),
    ("people", "Rules for landlords", "Rules for tenants"),
    ("order", "Convert euros to dollars", "Convert dollars to euros"),
    ("order", "A bus from Ghent to Bruges", "A bus from Bruges to Ghent"),
    ("order", "Did the fox bite the hare?", "Did the hare bite the fox?"),
    ("order", "Was the fox bitten by the hare?", "Did the fox bite the hare?"),
    ("order", "Who beat Spain in rugby?", "Who did Spain beat in rugby?"),
    ("order", "What is 30% of 60?", "What is 60% of 30?"),
    ("names", "Which lifts go to deck A?", "Which lifts go to deck B?"),
    ("antonyms", "Rooms with more than 3 beds", "Rooms with fewer than 3 beds"),
    ("negation", "Delete the old ones", "Delete all but the old ones"),
    ("negation", "List the failed runs", "List all except the failed runs"),
    ("replaced", "How do I cook the salmon?", "How do I cook the turkey?"),
]
ALIKE = [
    ("Did the fox bite the hare?", "Was the hare bitten by the fox?"),
    ("Who beat Spain in rugby?", "who beat spain in rugby"),
    ("Is lunch covered in the fee?", "Does the fee cover lunch?"),
    ("Is it open this Monday?", "Is it open on Monday?"),
    ("Does vitamin C help?", "does vitamin c help"),
    ("Is there a discount for kids?", "Do kids have a discount?"),
    ("How do I change my address?", "How can I change my address please"),
    ("Is it due after 14 days?", "Is it due after two weeks?"),
    ("Set an alarm for seven in the morning", "Set an alarm for 7 in the morning"),
    ("What is the deposit?", "What's the deposit??"),
    ("Why won't it print?", "Why doesn't it print?"),
    ("What is the speed limit in the UK?", "what is the speed limit in the uk"),
    ("Where can I buy a tent?", "Where can I purchase a tent?"),
    ("Is there a fee for kids?", "Is there a fee for children?"),
    ("How do I recieve my parcel?", "How do I receive my parcel?"),
    ("Hi team, when is it open?", "When is it open? Thanks"),
    ("Are you open from Monday to Friday?", "Are you open on weekdays?"),
    ("How many eggs are in one box?", "How many eggs are in a box?"),
    ("a price for 1,000 sheets", "a price for 1000 sheets"),
    ("a price for 2 thousand sheets", "a price for 2k sheets"),
    ("a price for two hundred and five sheets", "a price for two hundred and five sheets"),
    ("", "?"),
]


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT)
def test_a_guard_tells_two_questions_apart_whichever_comes_first(name: str, one: str, other: str) -> None:
    guard: Any = BY_NAME[name]
    first, second = guard.read(Words(one)), guard.read(Words(other))
    assert guard.differ(first, second)
    assert guard.differ(second, first)
    assert not guard.differ(first, first)
    assert not guard.differ(second, second)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_no_guard_objects_to_another_way_to_say_it(one: str, other: str) -> None:
    guards = Guards(ENGLISH)
    assert guards.objection(guards.read(one), guards.read(other)) is None


def test_long_texts_are_not_guarded() -> None:
    guards = Guards(ENGLISH)
    story = "then " * 31
    assert guards.objection(guards.read(story + "1"), guards.read(story + "2")) is None
    assert guards.objection(guards.read("room 1"), guards.read("room 2")) == "numbers"


def test_a_guard_of_ones_own_is_asked() -> None:
    class German:
        name = "kein"

        def read(self, words: Words) -> bool:
            return "kein" in words.lower

        def differ(self, one: bool, other: bool) -> bool:
            return one != other

    guards = Guards([German()])
    assert guards.objection(guards.read("Ist das kein Fisch?"), guards.read("Ist das Fisch?")) == "kein"
    assert Guards([]).read("anything") is None


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("", "ab", 2), ("a", "xyz", 3)],
)
def test_the_distance_of_two_words(one: str, other: str, letters: int) -> None:
    assert distance(one, other) == letters
