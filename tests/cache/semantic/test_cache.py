"""A semantic cache by itself: what it finds, what it must not, and what it keeps across a restart."""

from __future__ import annotations

import asyncio
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_cluster.cache.semantic import SemanticCache
from langchain_cluster.cache.semantic.index import Exhaustive
from langchain_cluster.cache.semantic.normal import normal
from langchain_cluster.errors import ConfigError
from langchain_cluster.model.call import Meaning, Request
from tests.cache.semantic.embedding import WordEmbeddings


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def cache(**options: Any) -> SemanticCache:
    return SemanticCache(options.pop("embeddings", None) or WordEmbeddings(), **options)


def answer(of: SemanticCache, question: Any) -> Any:
    hit = of.lookup(question)
    return None if hit is None else hit.answer


def test_a_question_that_means_the_same_has_the_same_answer() -> None:
    known = cache()
    known.store("How do I reset my password?", "Click on it.")
    hit = known.lookup("How can I recover my password")
    assert hit is not None
    assert (hit.answer, hit.exact) == ("Click on it.", False)
    assert hit.score > 0.99
    assert answer(known, "Where is the nearest station?") is None


def test_the_same_text_is_found_without_an_embedding() -> None:
    embeddings = WordEmbeddings()
    known = cache(embeddings=embeddings)
    known.store("Is it open?", "Yes.")
    before = embeddings.calls
    hit = known.lookup("  Is it  open?? ")
    assert hit is not None
    assert (hit.answer, hit.exact, hit.score) == ("Yes.", True, 1.0)
    assert embeddings.calls == before
    assert answer(cache(), "Is it open?") is None


def test_letters_keep_their_case_where_a_text_has_to_be_the_same() -> None:
    assert normal("ﬁne  print?!") == "fine print"
    assert normal("convert US dollars") != normal("convert us dollars")


def test_a_guard_stands_between_near_questions() -> None:
    known = cache(threshold=0.5)
    known.store("Can I return it after 14 days to the shop in town please?", "Yes.")
    assert answer(known, "Can I return it after 40 days to the shop in town please?") is None
    assert known.stats().guarded == {"numbers": 1}
    trusting = cache(guards=(), threshold=0.5)
    trusting.store("Can I return it after 14 days to the shop in town please?", "Yes.")
    assert answer(trusting, "Can I return it after 40 days to the shop in town please?") == "Yes."


def test_behind_a_guarded_entry_the_next_one_is_looked_at() -> None:
    known = cache(threshold=0.5)
    known.store("price of a long ticket to the old harbour of Porto", "Porto.")
    known.store("what price of long ticket to old harbour of Lisbon", "Lisbon.")
    assert answer(known, "the price of a long ticket to the old harbour of Lisbon") == "Lisbon."


def test_scopes_do_not_see_each_others_answers() -> None:
    known = cache()
    one, other = (Request(meaning=Meaning("Is it open?", scope)) for scope in ("a", "b"))
    known.store(one, "Yes.")
    assert answer(known, one) == "Yes."
    assert answer(known, other) is None
    assert answer(known, "Is it open?") is None
    assert answer(known, Request()) is None
    known.store(Request(), "nothing to compare")
    assert len(known) == 1


def test_a_new_answer_to_the_same_question_replaces_the_old_one() -> None:
    known = cache()
    known.store("Is it open?", "Yes.")
    known.store("Is it open", "No.")
    assert (answer(known, "Is it open?"), len(known)) == ("No.", 1)


def test_what_was_not_used_for_longest_makes_room() -> None:
    known = cache(max_entries=2)
    for place in ("harbour", "castle"):
        known.store(f"Where is the {place}?", place)
    assert answer(known, "where is harbour") == "harbour"
    known.store("Where is the museum?", "museum")
    assert (answer(known, "Where is the castle?"), answer(known, "Where is the harbour?")) == (
        None,
        "harbour",
    )
    assert (known.stats().evictions, known.stats().entries) == (1, 2)


def test_an_entry_lives_as_long_as_it_may() -> None:
    time = Time()
    known = cache(ttl="1m", clock=time)
    known.store("Is it open?", "Yes.")
    time.now += 59
    assert answer(known, "is it open") == "Yes."
    time.now += 2
    assert answer(known, "is it open") is None
    assert answer(known, "Is it open?") is None
    assert known.stats().expired == 1
    assert len(known) == 0


def test_long_texts_and_empty_ones_are_left_alone() -> None:
    embeddings = WordEmbeddings()
    known = cache(embeddings=embeddings, max_chars=20)
    for text in ("", "word " * 5):
        known.store(text, "no")
        assert answer(known, text) is None
    assert (len(known), embeddings.calls) == (0, 0)


async def test_its_async_twins_do_the_same() -> None:
    known = cache()
    await known.astore("How do I reset my password?", "Click on it.")
    hit = await known.alookup("How can I recover my password")
    assert hit is not None
    assert hit.answer == "Click on it."
    assert (await known.alookup("How do I reset my password")).exact  # type: ignore[union-attr]
    assert await known.alookup("Where?") is None
    assert await known.alookup(Request()) is None
    await known.astore(Request(), "x")
    await known.astore("", "x")
    assert await cache().alookup("anything") is None
    assert await known.alookup("") is None
    await known.aclose()


async def test_the_event_loop_goes_on_while_something_is_embedded() -> None:
    gate = asyncio.Event()

    class Slow(WordEmbeddings):
        async def aembed_query(self, text: str) -> list[float]:
            await gate.wait()
            return self.embed_query(text)

    known = cache(embeddings=Slow())
    task = asyncio.create_task(known.astore("Is it open?", "Yes."))
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await task
    assert len(known) == 1


def test_many_threads_may_use_it() -> None:
    known = cache(max_entries=20)

    def use(place: int) -> None:
        for n in range(40):
            known.store(f"question about thing{(n + place) % 25}", str(n))
            known.lookup(f"question about thing{n}")

    threads = [threading.Thread(target=use, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known) == 20
    assert known.clear() == 20
    assert (len(known), known.stats().scopes) == (0, 0)


# -- across restarts ------------------------------------------------------------------------------------


def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "answers.npz"
    first = cache(path=path, ttl=60.0, clock=(time := Time()))
    first.store("How do I reset my password?", "Click on it.")
    first.store("Is it open?", b"raw")
    first.close()
    again = cache(path=path, clock=time)
    assert answer(again, "How can I recover my password") == "Click on it."
    assert answer(again, "Is it open") == b"raw"
    again.store("Another one about castles?", "x")
    assert len(again) == 3
    time.now += 61
    assert len(cache(path=path, clock=time)) == 0


def test_it_is_written_now_and_then(tmp_path: Path) -> None:
    path, time = tmp_path / "answers.npz", Time()
    known = cache(path=path, clock=time)
    known.store("Is it open?", "Yes.")
    assert not path.exists()
    time.now += 60
    known.store("Where is it?", "Here.")
    assert len(cache(path=path)) == 2


def test_a_damaged_file_is_a_warning_and_an_empty_cache(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    known = cache(path=path)
    known.store("Is it open?", "Yes.")
    known.save()
    whole = path.read_bytes()
    at = whole.index(b"Yes.")
    for damaged in (whole[: len(whole) // 2], whole[:at] + b"Nope" + whole[at + 4 :], b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="damaged"):
            assert len(cache(path=path)) == 0


def test_a_file_of_another_embedder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    known = cache(path=path)
    known.store("Is it open?", "Yes.")
    known.save()
    with pytest.raises(ConfigError, match="written with the embedder 'words', and this one is 'others'"):
        cache(embeddings=WordEmbeddings(fingerprint="others"), path=path)


# -- what is not valid ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0, 0.0, -0.5, 1.5, True, "0.9", float("nan")])
def test_a_threshold_is_above_0_and_at_most_1(threshold: Any) -> None:
    with pytest.raises(ConfigError, match=r"SemanticCache.threshold: .*above 0"):
        cache(threshold=threshold)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"error_rate": 0}, "error_rate: 0 is no part"),
        ({"error_rate": 0.5}, "error_rate: 0.5 is no part"),
        ({"audit": 2}, "audit: 2 is not a number from 0 to 1"),
        ({"max_entries": 0}, "max_entries: 0 is not an integer"),
        ({"max_chars": 1.5}, "max_chars: 1.5 is not an integer"),
        ({"ttl": "soon"}, "ttl: 'soon' is no duration"),
        ({"guards": "english"}, "str is not a list of guards"),
        ({"guards": [object()]}, "is no guard"),
        ({"embeddings": object()}, "object is no embedder"),
        ({"index": "usearch"}, "str is no function"),
    ],
)
def test_what_is_not_valid_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cache(**options)


def test_an_embedder_whose_vectors_change_their_length_is_told_of() -> None:
    embeddings = WordEmbeddings(64)
    known = cache(embeddings=embeddings)
    known.store("Is it open?", "Yes.")
    embeddings.dimensions = 32
    with pytest.raises(ConfigError, match="gives 32 dimensions, and the cache was filled with 64"):
        known.lookup("Where is it?")
    known.clear()
    known.store("Where is it?", "Here.")
    assert answer(known, "where is it") == "Here."


def test_a_vector_without_a_direction_is_an_error() -> None:
    class Broken(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [0.0] * 8

    with pytest.raises(ValueError, match="without a direction"):
        cache(embeddings=Broken()).store("Is it open?", "Yes.")


def test_neither_requests_nor_texts_are_refused() -> None:
    known = cache()
    with pytest.raises(ConfigError, match="int is neither a Request nor a text"):
        known.lookup(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="int is neither a text nor bytes"):
        known.store("Is it open?", 5)  # type: ignore[arg-type]


def test_an_index_of_ones_own_is_used() -> None:
    made: list[int] = []

    class Mine(Exhaustive):
        def __init__(self, dimensions: int) -> None:
            made.append(dimensions)
            super().__init__(dimensions)

    known = cache(index=Mine)
    known.store("Is it open?", "Yes.")
    assert answer(known, "is it open") == "Yes."
    assert made == [64]


def test_its_repr_shows_no_question() -> None:
    known = cache()
    known.store("my secret", "my answer")
    hit = known.lookup("my secret")
    assert repr(known) == "<SemanticCache 1 entries, <Fixed threshold 0.9>>"
    shown = repr(hit) + repr(known._entries.get(1)) + repr(Request(meaning=Meaning("my secret", "s")))
    assert "secret" not in shown
    assert "answer" not in shown.replace("answer_tokens", "")


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 99),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_becomes_of_the_file_it_is_read_whole_or_not_at_all(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path / "answers.npz"
    path.unlink(missing_ok=True)
    known = cache(path=path)
    known.store("Is it open?", "Yes.")
    known.save()
    raw = bytearray(path.read_bytes())
    for place, value in edits:
        raw[place % len(raw)] = value
    path.write_bytes(bytes(raw[: len(raw) - cut]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = cache(path=path)
    if len(again):
        assert answer(again, "Is it open?") == "Yes."
    else:
        assert "damaged" in str(told[0].message)
