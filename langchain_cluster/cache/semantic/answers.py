"""Which of the answers that are kept serves a question, and what is learned when another one comes.

Nothing is embedded here, and nobody else is told: it searches, decides and counts, on the thread that asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from langchain_cluster.cache.semantic.agreement import same_answer
from langchain_cluster.cache.semantic.asked import digest_of
from langchain_cluster.cache.semantic.entries import Entries
from langchain_cluster.cache.semantic.entry import Candidate, Entry, Hit
from langchain_cluster.cache.semantic.judge import Judge
from langchain_cluster.cache.semantic.normal import normal
from langchain_cluster.cache.semantic.persist import Persisted
from langchain_cluster.cache.semantic.share import Kept


class Answers:
    """Serves from entries, and adds to them.

    Args:
        entries: what is kept. judge: says what serves. file: is to be written after a change.
        audit: part of the hits that are to be asked again, 0-1. rng: which of them.
    """

    def __init__(self, entries: Entries, judge: Judge, file: Persisted, audit: float, rng: Random) -> None:
        self._entries, self._judge, self._file = entries, judge, file
        self._audit, self._random = audit, rng

    def same(self, text: str, scopes: Sequence[str]) -> Hit | None:
        """The answer to the same question, but for how it is written; takes no time."""
        written = normal(text)
        for scope in scopes:
            entry = self._entries.same(scope, written)
            if entry is not None:
                self._entries.count("hits", "exact")
                return Hit(entry.raw, 1.0, True, entry.id)
        return None

    def some(self, scopes: Sequence[str]) -> bool:
        """Whether there is anything to search within `scopes`; a miss if not."""
        if self._entries.holds(scopes):
            return True
        self._entries.count("misses")
        return False

    def near(self, text: str, vector: Any, scopes: Sequence[str]) -> Hit | None:
        """The best answer to a question that means the same; `vector` is of its text."""
        with self._entries.searching:
            best = self._judge.best(self._entries, text, vector, scopes)
            if best is None or not self._judge.policy.serves(best):
                self._entries.count("misses")
                return None
            part = min(1.0, self._audit * self._judge.policy.share_of_checks(best)) if self._audit else 0.0
        self._entries.count("hits")
        self._entries.use(best.entry)
        return Hit(
            best.entry.raw,
            best.score,
            False,
            best.entry.id,
            self._random.random() < part,
            best.agreement,
            1.0 / part if part else 1.0,
        )

    def insert(self, kept: Kept, learn: bool = True) -> None:
        """Keep one more, and learn from it, unless the question is known, whether what was near had done."""
        entry = Entry(
            self._entries.number(), kept.scope, kept.text, kept.vector, kept.raw, kept.digest, kept.sense,
            expires=kept.expires,
        )  # fmt: skip
        with self._entries.searching:
            known = self._entries.same(kept.scope, normal(kept.text), used=False) is not None
            if learn and not known:
                self._judge.compare(self._entries, entry)
            self._entries.insert(entry)
        self._file.changed = True

    def holds_good(self, entry: Entry, hit: Hit, words: str, sense: Any) -> bool:
        """Whether what `hit` was served is still the answer, now that it is `words`; learns from it."""
        right = same_answer(entry, Entry(0, entry.scope, "", None, b"", digest_of(words), sense))
        with self._entries.searching:
            self._judge.policy.learn(Candidate(entry, hit.score, hit.agreement), right, hit.weight)
        self._entries.count("audits", *(() if right else ("refuted",)))
        self._file.changed = True
        return right
