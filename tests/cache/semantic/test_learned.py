"""The policy that learns: nothing before there is evidence, most of what is right, and doubt means a miss."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")

from langchain_cluster.cache.semantic import SemanticCache  # noqa: E402
from langchain_cluster.cache.semantic.entry import Candidate, Entry  # noqa: E402
from langchain_cluster.cache.semantic.policy.learned import EVIDENCE, LEAST, MOST, Learned  # noqa: E402
from langchain_cluster.cache.semantic.policy.logit import chance, offset, regression  # noqa: E402

TOPICS, DIMENSIONS = 25, 48


class Topics:
    """Embeds "topic/number": near its topic's direction, and answers far from one another."""

    fingerprint = "topics"

    def embed_query(self, text: str) -> Any:
        topic, _, number = text.partition("/")
        direction = _direction(topic)
        return direction + 0.35 * _direction(text) if number else direction

    async def aembed_query(self, text: str) -> Any:
        return self.embed_query(text)


def _direction(name: str) -> Any:
    made = numpy.random.default_rng(sum(ord(c) * 31**n for n, c in enumerate(name)) % 2**32)
    vector = made.standard_normal(DIMENSIONS)
    return vector / numpy.linalg.norm(vector)


def ask(cache: SemanticCache, questions: int, *, noise: float = 0.0, seed: int = 0) -> tuple[list[bool], int]:
    """(for each hit whether it was right, the place of the first one) of a stream of questions."""
    rng, hits, first = Random(seed), [], questions
    for n in range(questions):
        topic = rng.randrange(TOPICS)

        def answer(topic: int = topic) -> str:
            return f"answer {rng.randrange(TOPICS) if rng.random() < noise else topic}"

        text = f"topic{topic}/{seed} {n}"
        hit = cache.lookup(text)
        if hit is None:
            cache.store(text, answer())
            continue
        first = min(first, n)
        hits.append(hit.answer == f"answer {topic}")
        if hit.audit:
            cache.audited(hit, answer())
    return hits, first


def learning(**options: Any) -> SemanticCache:
    return SemanticCache(Topics(), error_rate=0.02, guards=(), seed=3, **options)


def test_it_serves_nothing_before_it_has_evidence_and_most_of_it_later() -> None:
    cache = learning()
    hits, first = ask(cache, 1_500)
    assert first >= EVIDENCE
    assert len(hits) > 700
    assert sum(hits) >= 0.98 * len(hits)
    assert cache.stats().labels >= EVIDENCE
    assert 0 < cache.stats().audits < 0.1 * len(hits)


@pytest.mark.parametrize("labels", [0, EVIDENCE - 1])
def test_however_near_a_candidate_is_it_waits_for_evidence(labels: int) -> None:
    policy = Learned(0.1)
    candidate = Candidate(Entry(1, "", "", None, b""), 1.0, 1.0)
    for _ in range(labels):
        policy.learn(candidate, True)
    assert not policy.serves(candidate)
    assert "nothing served yet" in repr(policy)
    for _ in range(EVIDENCE):
        policy.learn(candidate, True)
    assert policy.serves(candidate)
    assert repr(policy) == f"<Learned error_rate 0.1, {labels + EVIDENCE} labels>"


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_a_judge_in_doubt_leads_to_misses(noise: float) -> None:
    hits, _ = ask(learning(), 600, noise=noise)
    assert len(hits) <= 6


def test_what_was_learned_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    first = learning(path=path)
    ask(first, 400)
    first.close()
    again = learning(path=path)
    assert again.stats().labels == first.stats().labels
    hits, place = ask(again, 60, seed=1)
    assert place < EVIDENCE
    assert len(hits) > 15
    assert repr(again._judge.policy) == f"<Learned error_rate 0.02, {again.stats().labels} labels>"


def test_the_same_questions_and_the_same_seed_give_the_same_hits() -> None:
    assert ask(learning(), 300) == ask(learning(), 300)


def test_an_entry_that_was_wrong_is_trusted_less_than_others() -> None:
    policy = Learned(0.05)
    good, bad = (Candidate(Entry(id, "", "", None, b""), 0.95, 0.5) for id in (1, 2))
    for _ in range(120):
        policy.learn(good, True)
    assert policy.serves(bad), "nothing is known of it"
    for _ in range(3):
        policy.learn(bad, False)
    assert policy.serves(good)
    assert not policy.serves(bad)
    policy.forget(2)
    assert 2 not in policy._of


def test_a_failed_check_weighs_as_much_as_the_hits_it_stands_for() -> None:
    cache = learning(audit=0.5)
    cache.store("topic1/1", "yes")
    for n in range(60):
        cache._judge.policy.learn(Candidate(cache._entries.get(1), 0.99, 1.0), True)
        cache.store(f"topic1/again {n}", "yes")
    hit = cache.lookup("topic1/once more")
    assert hit is not None
    before = len(cache)
    assert cache.audited(hit, "YES, but of another kind") is False
    assert len(cache) == before - 1
    assert 1.0 <= hit.weight <= 6.0
    assert cache._judge.policy._labels[-1][1:3] == (False, hit.weight)  # type: ignore[attr-defined]
    assert cache.audited(hit, "whatever"), "what is gone cannot be wrong"


def test_what_is_likelier_wrong_is_checked_more_often_and_weighs_less() -> None:
    policy = Learned(0.05)
    for _ in range(200):
        policy.learn(Candidate(Entry(1, "", "", None, b""), 0.97, 0.8), True)
        policy.learn(Candidate(Entry(2, "", "", None, b""), 0.8, -0.5), False)
    near, far = (Candidate(Entry(3, "", "", None, b""), score, 0.0) for score in (0.99, 0.88))
    shares = [[policy.share_of_checks(near), policy.share_of_checks(far)] for _ in range(400)][-1]
    assert LEAST <= shares[0] < 1.0 < shares[1] <= MOST
    mean = sum(shares) / 2
    assert 0.8 < mean < 1.3, "as many checks as were asked for"


def test_the_regression_finds_what_the_labels_were_made_with() -> None:
    rng = numpy.random.default_rng(1)
    rows = numpy.column_stack([numpy.ones(4_000), rng.standard_normal(4_000)])
    right = (rng.random(4_000) < 1 / (1 + numpy.exp(-(0.5 + 2.0 * rows[:, 1])))).astype(float)
    ones, wide = numpy.ones(4_000), numpy.array([10.0, 10.0])
    found, covariance = regression(
        rows, right, ones, 0 * ones, means=numpy.zeros(2), deviations=wide, start=numpy.array([9.0, -9.0])
    )
    assert found == pytest.approx([0.5, 2.0], abs=0.15)
    assert numpy.sqrt(numpy.diag(covariance)) == pytest.approx([0.04, 0.06], abs=0.02)


def test_an_offset_moves_with_its_labels_and_becomes_surer() -> None:
    nothing, wide = offset([], deviation=1.5)
    up, narrow = offset([(0.0, True, 1.0)] * 8, deviation=1.5)
    down, _ = offset([(0.0, False, 1.0)] * 8, deviation=1.5)
    assert nothing == 0
    assert wide == pytest.approx(1.5**2)
    assert up == pytest.approx(-down)
    assert up > 1
    assert narrow < wide
    assert chance(0) == 0.5
    assert chance(-800) == pytest.approx(0.0)
