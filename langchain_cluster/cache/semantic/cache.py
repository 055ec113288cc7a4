"""`SemanticCache`: answers a question with what was answered to another that means the same.

In this order: what has to be equal (the scope) is a digest, and never compared by meaning; a text that is
the same but for how it is written is found without an embedding; then the nearest questions of the scope
are candidates, guards object to those that differ in a number, a name or a "not", and a policy decides
whether the best that is left is near enough.

What may be asked on an event loop takes no time there: embedders are awaited, and searching, deciding and
keeping are done on threads.
"""

from __future__ import annotations

import os
import time
from asyncio import to_thread
from collections.abc import Callable, Sequence
from os import PathLike
from random import Random
from typing import Any

from langchain_cluster.cache.semantic.answers import Answers
from langchain_cluster.cache.semantic.asked import asked_of, digest_of, kept_of
from langchain_cluster.cache.semantic.entries import Entries, MakeIndex
from langchain_cluster.cache.semantic.entry import Hit
from langchain_cluster.cache.semantic.guards import ENGLISH, Guard, Guards
from langchain_cluster.cache.semantic.index import Sized
from langchain_cluster.cache.semantic.judge import Judge
from langchain_cluster.cache.semantic.life import Life
from langchain_cluster.cache.semantic.persist import Persisted
from langchain_cluster.cache.semantic.settings import (
    a_policy,
    a_rate,
    a_size,
    guards_of,
    index_of,
    journals_of,
    lifetime,
)
from langchain_cluster.cache.semantic.share import Journals, Kept, Shared
from langchain_cluster.cache.semantic.vectors import Vectors
from langchain_cluster.extras import need
from langchain_cluster.model.call import Request

THRESHOLD = 0.9
AUDIT = 0.03  # of the hits that a learned policy serves


class SemanticCache(Life):
    """A cache of answers by the meaning of questions. Safe for threads and event loops.

    Args:
        embeddings: LangChain `Embeddings`; None for the model of the extra `semantic`.
        index: makes the index of one scope from its dimensions; None for a comparison with all entries
            up to 5,000 and a graph above.
        threshold: cosine from which on a candidate is served, above 0 and at most 1; 0.9 if None. With
            `error_rate`: below which there are no candidates, 0.6 if None.
        guards: which differences forbid an answer; () for none. Texts over 30 words are not guarded.
        error_rate: wrong answers per hit that are bearable, above 0 and below 0.2: the threshold is learned,
            and nothing is served before there is evidence. None: the threshold is `threshold`.
        audit: part of the hits that are asked again beside the call, 0-1; None: 0.03 with `error_rate`, else
            none. A hit whose answer has become another loses its entry.
        max_entries: over all scopes, >= 1; the one not used for longest goes first.
        ttl: seconds an entry lives; None for ever.
        max_chars: a longer text is not looked up; embedders read only its beginning.
        path: a file that keeps it all across restarts; written by `save`, `close`, and now and then.
        share: what processes tell one another through, such as `RedisJournals`; None: nothing is shared.
        clock: seconds since 1970. seed: chance, for tests.

    Raises:
        ConfigError: a value out of its range, what is no embedder, a file of another embedder.
        ImportError: no embeddings are given and the extra `semantic` is not installed.
    """

    name = "semantic"

    def __init__(
        self,
        embeddings: Any = None,
        index: MakeIndex | None = None,
        *,
        threshold: float | None = None,
        guards: Sequence[Guard] = ENGLISH,
        error_rate: float | None = None,
        audit: float | None = None,
        max_entries: int = 50_000,
        ttl: float | str | None = None,
        max_chars: int = 1_000,
        path: str | PathLike[str] | None = None,
        share: Journals | None = None,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        need("numpy", extra="semantic", for_="SemanticCache")
        self._judge = Judge(a_policy(threshold, error_rate, THRESHOLD), Guards(guards_of(guards)))
        part = a_rate(audit, "audit", AUDIT if error_rate is not None else 0.0)
        self.max_entries = a_size(max_entries, "max_entries")
        self.max_chars = a_size(max_chars, "max_chars")
        self._ttl = lifetime(ttl)
        self._vectors = Vectors(embeddings)
        self._clock = clock
        self._index = index_of(index) or Sized
        self._entries = Entries(self._index, self.max_entries, clock, self._judge.policy.forget)
        self._process = os.getpid()
        self._file = Persisted(path, self.fingerprint, clock)
        self._answers = Answers(self._entries, self._judge, self._file, part, Random(seed))
        place = self._file.load(self._entries, self._judge)
        self._shared = Shared(
            None if share is None else journals_of(share).open(self.fingerprint),
            self._entries,
            self._answers.insert,
            lambda kept: self._suits(kept.text) and (kept.expires is None or kept.expires > clock()),
            dimensions=self._vectors.length,
            place=place,
            seed=seed,
        )

    @property
    def fingerprint(self) -> str:
        """Which embedder this is."""
        return self._vectors.fingerprint

    # -- one question -------------------------------------------------------------------------------

    def lookup(self, request: Request | str) -> Hit | None:
        """The answer to a question that means the same, or None.

        Args:
            request: one with a `meaning`, as a `ClusteredLLM` makes it, or a text that is its own scope.

        Raises:
            ConfigError: the embedder's vectors have another length than those that are kept.
        """
        asked = asked_of(request)
        return None if asked is None else self.seek(asked[0], (asked[1],))

    async def alookup(self, request: Request | str) -> Hit | None:
        """The asyncio twin of `lookup`."""
        asked = asked_of(request)
        return None if asked is None else await self.aseek(asked[0], (asked[1],))

    def store(self, request: Request | str, answer: str | bytes) -> None:
        """Keep an answer, and learn from it whether what was near would have done. Raises as `lookup`."""
        asked = asked_of(request)
        if asked is not None:
            self.keep(*asked, *kept_of(answer))

    async def astore(self, request: Request | str, answer: str | bytes) -> None:
        """The asyncio twin of `store`."""
        asked = asked_of(request)
        if asked is not None:
            await self.akeep(*asked, *kept_of(answer))

    def seek(self, text: str, scopes: Sequence[str]) -> Hit | None:
        """The best answer within any of `scopes`. Raises as `lookup`."""
        if not self._asks(text):
            return None
        same = self._answers.same(text, scopes)
        if same is not None or not self._answers.some(scopes):
            return same
        return self._answers.near(text, self._vectors.of(text), scopes)

    async def aseek(self, text: str, scopes: Sequence[str]) -> Hit | None:
        """The asyncio twin of `seek`: the embedder is awaited, and the search is made on a thread."""
        if not self._asks(text):
            return None
        same = self._answers.same(text, scopes)
        if same is not None or not self._answers.some(scopes):
            return same
        return await to_thread(self._answers.near, text, await self._vectors.aof(text), scopes)

    def keep(self, text: str, scope: str, raw: bytes | str, words: str) -> None:
        """Keep `raw`, an answer whose text is `words`. Raises as `lookup`."""
        if self._asks(text):
            vector = self._vectors.of(text)
            sense = self._vectors.sense(words) if self._judge.policy.learns and words else None
            self._put(text, scope, raw, words, vector, sense)

    async def akeep(self, text: str, scope: str, raw: bytes | str, words: str) -> None:
        """The asyncio twin of `keep`: what takes time is done on threads."""
        if self._asks(text):
            vector = await self._vectors.aof(text)
            sense = await self._vectors.asense(words) if self._judge.policy.learns and words else None
            await to_thread(self._put, text, scope, raw, words, vector, sense)

    def audited(self, hit: Hit, words: str) -> bool:
        """What a hit's question is answered now, by its text; whether that is what was served.

        If it is not, the entry goes, wherever it is shared.
        """
        sense = self._vectors.sense(words) if self._judge.policy.learns and words else None
        entry = self._entries.get(hit.entry)
        if entry is None:
            return True  # it is gone already
        right = self._answers.holds_good(entry, hit, words, sense)
        if not right:
            self._entries.drop(entry)
            self._shared.dropped(entry)
        return right

    # -- what takes no time -------------------------------------------------------------------------

    def _suits(self, text: str) -> bool:
        return 0 < len(text) <= self.max_chars

    def _asks(self, text: str) -> bool:
        if self._process != os.getpid():  # a fork: who held the locks is not here
            self._process = os.getpid()
            self._entries.renew_locks()
        self._shared.start()
        return self._suits(text)

    # -- what takes some ----------------------------------------------------------------------------

    def _put(self, text: str, scope: str, raw: bytes | str, words: str, vector: Any, sense: Any) -> None:
        expires = None if self._ttl is None else self._clock() + self._ttl
        kept = Kept(scope, text, raw, digest_of(words), expires, vector, sense)
        self._answers.insert(kept)
        self._entries.count("stores")
        self._shared.kept(kept)
        if self._file.due():
            self.save()

    def __repr__(self) -> str:
        return f"<SemanticCache {len(self)} entries, {self._judge.policy!r}>"
