"""What a journal that semantic caches share through must do.

    class TestMyJournal(JournalContract):
        @pytest.fixture
        def journals(self):
            return MyJournals(..., max_records=100)

The journals of the fixture keep about a hundred records, and nobody else's.
"""

from __future__ import annotations

from typing import Any

import pytest

MOST = 100


class JournalContract:
    """Inherit, and override `journals`."""

    @pytest.fixture
    def journals(self) -> Any:
        raise NotImplementedError

    @pytest.fixture
    def journal(self, journals: Any) -> Any:
        return journals.open("a model")

    def test_what_is_told_is_read_by_all_in_one_order(self, journals: Any) -> None:
        told = [b"one", b"two\0\r\n", bytes(range(256))]
        journals.open("a model").append(told[:2])
        journals.open("a model").append(told[2:])
        assert [record for _, record in journals.open("a model").read("", 10)] == told

    def test_reading_goes_on_behind_a_place(self, journal: Any) -> None:
        journal.append([b"one", b"two", b"three"])
        first = journal.read("", 2)
        assert [record for _, record in first] == [b"one", b"two"]
        rest = journal.read(first[-1][0], 2)
        assert [record for _, record in rest] == [b"three"]
        assert journal.read(rest[-1][0], 2) == []

    def test_an_empty_one_has_nothing_to_read(self, journal: Any) -> None:
        assert journal.read("", 10) == []
        assert journal.resume("") == ("", False, 0)

    def test_another_embedder_has_another_one(self, journals: Any) -> None:
        journals.open("a model").append([b"one"])
        assert journals.open("another model").read("", 10) == []

    def test_it_is_bounded_and_the_oldest_go(self, journal: Any) -> None:
        for n in range(10 * MOST):
            journal.append([str(n).encode()])
        kept = [int(record) for _, record in journal.read("", 100 * MOST)]
        assert kept == list(range(kept[0], 10 * MOST))
        assert len(kept) <= 3 * MOST

    def test_a_new_beginning_lets_all_go(self, journal: Any) -> None:
        journal.append([b"one", b"two"])
        place = journal.read("", 10)[-1][0]
        journal.restart(b"begin")
        assert [record for _, record in journal.read("", 10)] == [b"begin"]
        assert [record for _, record in journal.read(place, 10)] == [b"begin"]

    def test_who_was_away_is_told_of_a_new_beginning(self, journal: Any) -> None:
        journal.append([b"one"])
        place = journal.read("", 10)[-1][0]
        assert journal.resume(place) == (place, False, 1)
        journal.restart(b"begin")
        journal.append([b"two"])
        assert journal.resume(place) == (place, True, 2)
        place = journal.read("", 10)[-1][0]
        assert journal.resume(place) == (place, False, 2)
        assert journal.resume("") == ("", False, 2)

    def test_a_place_of_another_journal_is_begun_anew(self, journal: Any) -> None:
        journal.append([b"one"])
        assert journal.resume("9" * 15) == ("", False, 1)

    def test_it_can_be_used_after_it_was_closed(self, journal: Any) -> None:
        journal.append([b"one"])
        journal.close()
        assert len(journal.read("", 10)) == 1
