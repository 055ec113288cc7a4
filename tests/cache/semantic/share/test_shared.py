"""Several caches that share a journal: what one knows all know, and what one lets go all let go."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from langchain_cluster.cache.selection import Selection
from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.cache.semantic.share import follower as following
from langchain_cluster.cache.semantic.share.record import Kept, encode
from langchain_cluster.cache.semantic.vectors import Vectors
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Meaning, Request
from langchain_cluster.testing import MemoryJournals
from tests.cache.semantic.embedding import WordEmbeddings

ASKED, AGAIN = "How do I reset my password?", "How can I recover my password"


@pytest.fixture
def made() -> Iterator[Callable[..., SemanticCache]]:
    caches = []

    def make(share: Any, embeddings: Any = None, **options: Any) -> SemanticCache:
        caches.append(SemanticCache(embeddings or WordEmbeddings(), share=share, seed=1, **options))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture
def journals() -> MemoryJournals:
    return MemoryJournals()


def soon(holds: Callable[[], Any], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def answer(cache: SemanticCache, question: Any) -> Any:
    hit = cache.lookup(question)
    return None if hit is None else hit.answer


class Away(MemoryJournals):
    """A journal that can be away, and counts how often it was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.tries = False, 0

    def open(self, fingerprint: str) -> Any:
        return _Away(self, super().open(fingerprint))


class _Away:
    def __init__(self, where: Away, journal: Any) -> None:
        self._where, self._journal = where, journal

    def __getattr__(self, name: str) -> Any:
        def ask(*given: Any) -> Any:
            self._where.tries += 1
            if self._where.away:
                raise ConnectionError("away")
            return getattr(self._journal, name)(*given)

        return ask


def test_what_one_was_told_another_knows(made: Any, journals: MemoryJournals) -> None:
    one, other = made(journals), made(journals)
    assert other.wait_ready(20.0)
    one.store(ASKED, "Click on it.")
    soon(lambda: answer(other, AGAIN) == "Click on it.")
    assert other.stats().hits == 1
    other.store("Where is the station?", b"There.")
    soon(lambda: answer(one, "where is the station") == b"There.")
    assert (one.stats().stores, other.stats().stores) == (1, 1), "what was heard is no store"
    assert (len(one), len(other)) == (2, 2)


async def test_the_async_twins_share_too(made: Any, journals: MemoryJournals) -> None:
    one, other = made(journals), made(journals)
    await one.astore(ASKED, "Click on it.")
    soon(lambda: len(other) == 1 or other.start())
    hit = await other.alookup(AGAIN)
    assert hit is not None
    assert hit.answer == "Click on it."


def test_who_comes_later_catches_up(made: Any, journals: MemoryJournals) -> None:
    one = made(journals)
    for n in range(600):
        one.store(f"question about thing{n}", str(n))
    one.close()
    assert one.stats().told == 600
    late = made(journals, max_entries=100)
    assert late.wait_ready(30.0)
    assert len(late) == 100
    assert [answer(late, f"question about thing{n}") for n in (0, 599)] == [None, "599"]


def test_nothing_is_read_or_told_before_the_first_question(made: Any) -> None:
    journals = Away()
    one = made(journals)
    time.sleep(0)
    assert journals.tries == 0
    one.lookup(ASKED)
    soon(lambda: journals.tries)


def test_scopes_stay_apart_wherever_they_were_kept(made: Any, journals: MemoryJournals) -> None:
    one, other = made(journals), made(journals)
    mine, theirs = (Request(meaning=Meaning(ASKED, scope)) for scope in ("a", "b"))
    one.store(mine, "mine")
    soon(lambda: answer(other, mine) == "mine")
    assert answer(other, theirs) is None
    assert answer(other, ASKED) is None


def test_another_embedder_hears_nothing(made: Any, journals: MemoryJournals) -> None:
    one = made(journals)
    other = made(journals, WordEmbeddings(fingerprint="others"))
    one.store(ASKED, "Click on it.")
    one.close()
    assert other.wait_ready(20.0)
    assert len(other) == 0
    assert other.stats().heard == 0


def test_vectors_of_another_length_are_refused_and_ours_still_count(
    made: Any, journals: MemoryJournals
) -> None:
    one, other = made(journals, WordEmbeddings(64)), made(journals, WordEmbeddings(32))
    one.store(ASKED, "Click on it.")
    other.start()
    soon(lambda: other.stats().refused)
    assert len(other) == 0
    other.store(ASKED, "Ask somebody.")
    assert answer(other, AGAIN) == "Ask somebody."


def test_an_answer_that_was_refuted_goes_everywhere(made: Any, journals: MemoryJournals) -> None:
    one, other = made(journals, audit=1.0), made(journals)
    one.store(ASKED, "Click on it.")
    soon(lambda: answer(other, AGAIN))
    hit = one.lookup(AGAIN)
    assert hit is not None
    assert not one.audited(hit, "Ask an administrator.")
    soon(lambda: answer(other, AGAIN) is None)


def test_a_newer_answer_stays_when_the_older_one_is_refuted_elsewhere(
    made: Any, journals: MemoryJournals
) -> None:
    one, other = made(journals, audit=1.0), made(journals)
    one.store(ASKED, "old")
    soon(lambda: answer(other, ASKED) == "old")
    hit = one.lookup(AGAIN)
    other.store(ASKED, "new")
    soon(lambda: answer(one, ASKED) == "new")
    assert one.audited(hit, "something else"), "it is gone already"
    soon(lambda: answer(other, ASKED) == "new")


def test_clearing_one_clears_all_and_what_comes_later_stays(made: Any, journals: MemoryJournals) -> None:
    one, other = made(journals), made(journals)
    one.store(ASKED, "Click on it.")
    soon(lambda: answer(other, ASKED))
    assert other.clear() == 1
    other.store("Where is the station?", "There.")
    soon(lambda: answer(one, "Where is the station?") == "There.")
    assert (answer(one, ASKED), answer(other, ASKED)) == (None, None)
    late = made(journals)
    assert late.wait_ready(20.0)
    assert len(late) == 1


def test_who_clears_hears_nothing_from_before(made: Any, journals: MemoryJournals) -> None:
    for n in range(20):
        one, other = made(journals), made(journals)
        one.store(ASKED, str(n))
        one.close()
        other.clear()
        other.close()
        assert made(journals).wait_ready(20.0)
        assert answer(other, ASKED) is None


def test_while_it_is_away_nothing_is_missed_but_the_sharing(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(following, "PAUSES", (0.01,))
    journals = Away()
    one, other = made(journals), made(journals)
    said: list[tuple[str, str]] = []
    one.subscribe(lambda what, why: said.append((what, why)))
    assert one.wait_ready(20.0)
    assert other.wait_ready(20.0)
    journals.away = True
    soon(lambda: said)
    one.store(ASKED, "Click on it.")
    assert answer(one, AGAIN) == "Click on it."
    assert answer(other, AGAIN) is None
    assert said == [("share by meaning", "ConnectionError")]
    journals.away = False
    soon(lambda: answer(other, AGAIN) == "Click on it.")


def test_a_cache_that_was_cleared_while_it_is_away_clears_the_others_later(
    made: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(following, "PAUSES", (0.01,))
    journals = Away()
    one, other = made(journals), made(journals)
    one.store(ASKED, "Click on it.")
    soon(lambda: answer(other, ASKED))
    journals.away = True
    one.clear()
    one.store("Where is the station?", "There.")
    journals.away = False
    soon(lambda: answer(other, "Where is the station?"))
    assert answer(other, ASKED) is None


def test_what_waits_is_bounded(made: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", 5)
    journals = Away()
    journals.away = True
    one = made(journals)
    for n in range(12):
        one.store(f"question about thing{n}", str(n))
    assert one.stats().lost == 7
    one.close()
    assert (one.stats().lost, one.stats().told) == (12, 0)


def test_removals_are_told_however_many_there_are(
    made: Any, journals: MemoryJournals, monkeypatch: Any
) -> None:
    one, other = made(journals), made(journals)
    for n in range(40):
        one.store(Request(meaning=Meaning(f"question about thing{n}", "a" if n % 2 else "b")), str(n))
    soon(lambda: len(other) == 40 or other.start())
    monkeypatch.setattr(following, "MOST_WAITING", 5)
    assert one.remove(Selection(("a",))) == 20
    soon(lambda: len(other) == 20)
    assert one.stats().lost == 0


def test_closing_tells_what_waits_and_ends_the_thread(made: Any, journals: MemoryJournals) -> None:
    one = made(journals)
    one.store(ASKED, "Click on it.")
    one.close()
    assert "langchain-cluster-semantic" not in [thread.name for thread in threading.enumerate()]
    assert len(journals.open(one.fingerprint).read("", 10)) == 1
    assert answer(one, AGAIN) == "Click on it."  # it can be used again
    assert "langchain-cluster-semantic" in [thread.name for thread in threading.enumerate()]


def test_hostile_records_are_counted_and_passed_over(made: Any, journals: MemoryJournals) -> None:
    embeddings = WordEmbeddings()
    vector = Vectors(embeddings).of("x")
    good = encode(Kept("", "Is it open?", "Yes.", "d", None, vector, None))
    long = encode(Kept("", "x" * 2_000, "Yes.", "d", None, vector, None))
    over = encode(Kept("", "Is it over?", "Yes.", "d", 1.0, vector, None))
    assert good is not None
    assert long is not None
    assert over is not None
    journals.open("words").append([b"", b"\x80\x04\x95", good[:-1][:30], long, over, b"\x01" * 99, good])
    one = made(journals, embeddings)
    assert one.wait_ready(20.0)
    assert (len(one), one.stats().refused, one.stats().heard) == (1, 4, 3)
    assert answer(one, "is it open") is None
    assert answer(one, "Is it open") == "Yes."


def test_an_index_that_fails_does_not_stop_the_others(made: Any, journals: MemoryJournals) -> None:
    class Failing:
        def __init__(self, dimensions: int) -> None:
            raise RuntimeError("no index today")

    one, other = made(journals), made(journals, index=Failing)
    one.store(ASKED, "Click on it.")
    other.start()
    soon(lambda: other.stats().refused == 1)
    assert answer(other, ASKED) == "Click on it.", "by how it is written"


def test_a_restart_goes_on_where_it_was(made: Any, journals: MemoryJournals, tmp_path: Path) -> None:
    one = made(journals, path=tmp_path / "one.npz")
    one.store(ASKED, "Click on it.")
    one.store("Where is the station?", "There.")
    soon(lambda: one.stats().heard == 2)
    one.close()
    again = made(journals, path=tmp_path / "one.npz")
    assert len(again) == 2
    other = made(journals)
    other.store("Is it open?", "Yes.")
    other.close()
    assert again.wait_ready(20.0)
    soon(lambda: len(again) == 3)
    assert again.stats().heard == 1, "the rest was in the file"
    again.close()
    other.clear()
    other.close()
    assert made(journals, path=tmp_path / "one.npz").wait_ready(20.0)


def test_what_was_cleared_while_a_process_was_away_is_gone_when_it_comes_back(
    made: Any, journals: MemoryJournals, tmp_path: Path
) -> None:
    one, other = made(journals, path=tmp_path / "one.npz"), made(journals)
    one.store(ASKED, "Click on it.")
    soon(lambda: one.stats().heard == 1)
    one.close()
    other.clear()
    other.close()
    again = made(journals, path=tmp_path / "one.npz")
    assert len(again) == 1
    assert again.wait_ready(20.0)
    assert len(again) == 0


def test_a_fleet_learns_from_every_ones_answers(made: Any, journals: MemoryJournals) -> None:
    one = made(journals, error_rate=0.05, guards=())
    for n in range(80):
        one.store(f"question about one thing of many number{n}", "yes")
    one.close()
    assert one.stats().labels > 50
    late = made(journals, error_rate=0.05, guards=())
    assert late.wait_ready(30.0)
    assert late.stats().labels == one.stats().labels
    assert answer(late, "question about one thing of many number7 and") == "yes"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_follows_on_a_thread_of_its_own(made: Any, journals: MemoryJournals) -> None:
    one = made(journals)
    one.store(ASKED, "Click on it.")
    assert one.wait_ready(20.0)
    with one._entries.searching, one._entries._lock:  # as somebody might hold them
        child = os.fork()
        if not child:
            fine = answer(one, AGAIN) == "Click on it." and one.wait_ready(20.0)
            os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("share", ["redis://localhost", 5, MemoryJournals])
def test_what_gives_no_journals_is_told(share: Any) -> None:
    with pytest.raises(ConfigError, match=r"SemanticCache.share: .*gives no journals"):
        SemanticCache(WordEmbeddings(), share=share)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"namespace": ""}, "namespace: '' is not a name"),
        ({"namespace": "a{b}"}, "is not a name"),
        ({"max_records": 0}, "max_records: 0 is not an integer"),
        ({"timeout": 0}, "timeout: 0 is not a number of seconds"),
        ({"password_env": "NOT_SET_ANYWHERE"}, "not set"),
    ],
)
def test_settings_of_the_journals_are_checked(options: dict[str, Any], told: str) -> None:
    pytest.importorskip("redis")
    from langchain_cluster.cache.semantic import RedisJournals

    with pytest.raises(ConfigError, match=told):
        RedisJournals.from_url("redis://127.0.0.1:1/0", **options)


def test_a_redis_that_is_not_there_costs_nothing_but_the_sharing(made: Any) -> None:
    pytest.importorskip("redis")
    from langchain_cluster.cache.semantic import RedisJournals

    journals = RedisJournals.from_url("redis://:secret@127.0.0.1:1/0", timeout=0.5)
    assert "secret" not in repr(journals)
    one = made(journals)
    said: list[Sequence[str]] = []
    one.subscribe(lambda *what: said.append(what))
    one.store(ASKED, "Click on it.")
    assert answer(one, AGAIN) == "Click on it."
    soon(lambda: said)
    assert said == [("share by meaning", "CacheUnavailable")]
    assert not one.wait_ready(0)
    assert "away: CacheUnavailable" in repr(one._shared.follower)
