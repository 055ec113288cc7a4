"""`SemanticCache`: answers a question with what was answered to another that means the same.

In this order: what has to be equal (the scope) is a digest, and never compared by meaning; a text that is
the same but for how it is written is found without an embedding; then the nearest questions of the scope
are candidates, guards object to those that differ in a number, a name or a "not", and a policy decides
whether the best that is left is near enough.

One lock, held for the search and the decision, never while something is embedded.
"""

from __future__ import annotations

import time
from asyncio import to_thread
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from os import PathLike
from random import Random
from threading import RLock
from typing import Any

from langchain_cluster.cache.semantic.agreement import NEAR, agreement, same_answer
from langchain_cluster.cache.semantic.embedder import checked, fingerprint_of, unit
from langchain_cluster.cache.semantic.entry import Candidate, Entry, Hit
from langchain_cluster.cache.semantic.guards import ENGLISH, Guard, Guards
from langchain_cluster.cache.semantic.index import Sized, VectorIndex
from langchain_cluster.cache.semantic.normal import normal
from langchain_cluster.cache.semantic.policy import Fixed, Learned, ServePolicy
from langchain_cluster.cache.semantic.settings import a_policy, a_rate, a_size, guards_of, lifetime
from langchain_cluster.cache.semantic.stats import SemanticStats
from langchain_cluster.errors import ConfigError
from langchain_cluster.extras import need
from langchain_cluster.model.call import Request

THRESHOLD = 0.9
AUDIT = 0.03  # of the hits that a learned policy serves
_REMEMBERED = 1_024  # vectors of texts embedded a moment ago: what is looked up is stored soon after
_SAVED = 60.0  # seconds between two writes of the file

MakeIndex = Callable[[int], VectorIndex]


class SemanticCache:
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
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        need("numpy", extra="semantic", for_="SemanticCache")
        self._policy: ServePolicy = a_policy(threshold, error_rate, THRESHOLD)
        self._guards = Guards(guards_of(guards))
        self._audit = a_rate(audit, "audit", AUDIT if error_rate is not None else 0.0)
        self.max_entries = a_size(max_entries, "max_entries")
        self.max_chars = a_size(max_chars, "max_chars")
        self._ttl = lifetime(ttl)
        if index is not None and not callable(index):
            raise ConfigError(
                f"{type(index).__name__} is no function from dimensions to an index:"
                " give a class such as Exhaustive",
                key="SemanticCache.index",
            )
        self.embeddings = checked(embeddings)
        self.fingerprint = fingerprint_of(self.embeddings)
        self._make_index: MakeIndex = index or Sized
        self._clock, self._random = clock, Random(seed)
        self._lock = RLock()
        self._entries: OrderedDict[int, Entry] = OrderedDict()  # the one used last is the last
        self._exact: dict[tuple[str, str], int] = {}
        self._indexes: dict[str, VectorIndex] = {}
        self._vectors: OrderedDict[str, Any] = OrderedDict()
        self._next = 1
        self.dimensions: int | None = None
        self._counts: Counter[str] = Counter()
        self._guarded: Counter[str] = Counter()
        self.path = path
        self._saved, self._changed = clock(), False
        if path is not None:
            self._load()

    # -- one question -------------------------------------------------------------------------------

    def lookup(self, request: Request | str) -> Hit | None:
        """The answer to a question that means the same, or None.

        Args:
            request: one with a `meaning`, as a `ClusteredLLM` makes it, or a text that is its own scope.

        Raises:
            ConfigError: the embedder's vectors have another length than those that are kept.
        """
        asked = _asked(request)
        return None if asked is None else self.seek(*asked)

    async def alookup(self, request: Request | str) -> Hit | None:
        """The asyncio twin of `lookup`."""
        asked = _asked(request)
        return None if asked is None else await self.aseek(*asked)

    def store(self, request: Request | str, answer: str | bytes) -> None:
        """Keep an answer, and learn from it whether what was near would have done. Raises as `lookup`."""
        asked = _asked(request)
        if asked is not None:
            self.keep(asked[0], asked[1][0], *_kept(answer))

    async def astore(self, request: Request | str, answer: str | bytes) -> None:
        """The asyncio twin of `store`."""
        asked = _asked(request)
        if asked is not None:
            await self.akeep(asked[0], asked[1][0], *_kept(answer))

    def seek(self, text: str, scopes: Sequence[str]) -> Hit | None:
        """The best answer within any of `scopes`. Raises as `lookup`."""
        if not self._suits(text) or (found := self._same(text, scopes)) is not None:
            return found if self._suits(text) else None
        if not self._populated(scopes):
            return None
        vector = self._known(text)
        if vector is None:
            vector = self._learn_vector(text, self.embeddings.embed_query(text))
        return self._near(text, vector, scopes)

    async def aseek(self, text: str, scopes: Sequence[str]) -> Hit | None:
        """The asyncio twin of `seek`: the embedder is awaited."""
        if not self._suits(text) or (found := self._same(text, scopes)) is not None:
            return found if self._suits(text) else None
        if not self._populated(scopes):
            return None
        vector = self._known(text)
        if vector is None:
            vector = self._learn_vector(text, await self.embeddings.aembed_query(text))
        return self._near(text, vector, scopes)

    def keep(self, text: str, scope: str, raw: bytes | str, words: str) -> None:
        """Keep `raw`, an answer whose text is `words`. Raises as `lookup`."""
        if not self._suits(text):
            return
        vector = self._known(text)
        if vector is None:
            vector = self._learn_vector(text, self.embeddings.embed_query(text))
        sense = unit(self.embeddings.embed_query(words)) if self._senses(text, words) else None
        self._put(text, scope, raw, words, vector, sense)

    async def akeep(self, text: str, scope: str, raw: bytes | str, words: str) -> None:
        """The asyncio twin of `keep`: what takes time is done on threads."""
        if not self._suits(text):
            return
        vector = self._known(text)
        if vector is None:
            vector = self._learn_vector(text, await self.embeddings.aembed_query(text))
        sense = unit(await self.embeddings.aembed_query(words)) if self._senses(text, words) else None
        await to_thread(self._put, text, scope, raw, words, vector, sense)

    # -- checking hits ------------------------------------------------------------------------------

    def audited(self, hit: Hit, words: str) -> bool:
        """What a hit's question is answered now, by its text; whether that is what was served.

        If it is not, the entry goes.
        """
        sense = unit(self.embeddings.embed_query(words)) if self._policy.learns and words else None
        with self._lock:
            entry = self._entries.get(hit.entry)
            if entry is None:
                return True  # it is gone already
            fresh = Entry(0, entry.scope, "", None, b"", digest_of(words), sense)
            right = same_answer(entry, fresh)
            weight = 1.0 / self._audit if self._audit else 1.0
            self._policy.learn(Candidate(entry, hit.score, hit.agreement), right, weight)
            self._counts["audits"] += 1
            self._changed = True
            if not right:
                self._counts["refuted"] += 1
                self._drop(entry)
            return right

    # -- under the lock -----------------------------------------------------------------------------

    def _suits(self, text: str) -> bool:
        return 0 < len(text) <= self.max_chars

    def _senses(self, text: str, words: str) -> bool:
        return self._policy.learns and bool(words)

    def _populated(self, scopes: Sequence[str]) -> bool:
        with self._lock:
            if any(scope in self._indexes for scope in scopes):
                return True
            self._counts["misses"] += 1
            return False

    def _same(self, text: str, scopes: Sequence[str]) -> Hit | None:
        written = normal(text)
        with self._lock:
            for scope in scopes:
                entry = self._alive(self._exact.get((scope, written)))
                if entry is not None:
                    self._counts["hits"] += 1
                    self._counts["exact"] += 1
                    self._entries.move_to_end(entry.id)
                    return Hit(entry.raw, 1.0, True, entry.id)
        return None

    def _alive(self, id: int | None) -> Entry | None:
        entry = None if id is None else self._entries.get(id)
        if entry is not None and entry.expires is not None and entry.expires <= self._clock():
            self._counts["expired"] += 1
            self._drop(entry)
            return None
        return entry

    def _known(self, text: str) -> Any:
        with self._lock:
            return self._vectors.get(text)

    def _learn_vector(self, text: str, given: Sequence[float]) -> Any:
        vector = unit(given)
        if vector is None:
            raise ValueError("the embedder gave a vector without a direction")
        with self._lock:
            if self.dimensions is None:
                self.dimensions = len(vector)
            elif len(vector) != self.dimensions:
                raise ConfigError(
                    f"the embedder gives {len(vector)} dimensions, and the cache was filled with"
                    f" {self.dimensions}: vectors of two models cannot be compared; clear() the cache, or"
                    " give the embedder it was filled with",
                    key="SemanticCache.embeddings",
                )
            self._vectors[text] = vector
            if len(self._vectors) > _REMEMBERED:
                self._vectors.popitem(last=False)
        return vector

    def _near(self, text: str, vector: Any, scopes: Sequence[str]) -> Hit | None:
        with self._lock:
            best = max(
                (found for scope in scopes if (found := self._candidate(text, vector, scope)) is not None),
                key=lambda found: found.score,
                default=None,
            )
            if best is None or not self._policy.serves(best):
                self._counts["misses"] += 1
                return None
            self._counts["hits"] += 1
            self._entries.move_to_end(best.entry.id)
            audit = self._audit > 0 and self._random.random() < self._audit
            return Hit(best.entry.raw, best.score, False, best.entry.id, audit, best.agreement)

    def _candidate(self, text: str, vector: Any, scope: str) -> Candidate | None:
        """The nearest entry of a scope that no guard objects to."""
        index = self._indexes.get(scope)
        if index is None:
            return None
        found = index.nearest(vector, NEAR)
        near = [(score, entry) for score, id in found if (entry := self._alive(id)) is not None]
        read = None
        for score, entry in near:
            if score < self._policy.floor:
                break
            if read is None:
                read = self._guards.read(text)
            objection = self._guards.objection(read, entry.read)
            if objection is None:
                votes = agreement(entry, score, near) if self._policy.learns else 0.0
                return Candidate(entry, score, votes)
            self._guarded[objection] += 1
        return None

    def _put(self, text: str, scope: str, raw: bytes | str, words: str, vector: Any, sense: Any) -> None:
        written = normal(text)
        ttl = self._ttl
        with self._lock:
            fresh = Entry(
                self._next, scope, text, vector, raw, digest_of(words), sense,
                self._guards.read(text), None if ttl is None else self._clock() + ttl,
            )  # fmt: skip
            self._next += 1
            before = self._exact.get((scope, written))
            if before is not None:
                self._drop(self._entries[before])
            elif self._policy.learns:
                candidate = self._candidate(text, vector, scope)
                if candidate is not None:
                    self._policy.learn(candidate, same_answer(candidate.entry, fresh))
            self._insert(fresh, written)
            self._counts["stores"] += 1
            while len(self._entries) > self.max_entries:
                self._counts["evictions"] += 1
                self._drop(next(iter(self._entries.values())))
            self._changed = True
            due = self.path is not None and self._clock() - self._saved >= _SAVED
        if due:
            self.save()

    def _insert(self, entry: Entry, written: str) -> None:
        self._entries[entry.id] = entry
        self._exact[entry.scope, written] = entry.id
        index = self._indexes.get(entry.scope)
        if index is None:
            index = self._indexes[entry.scope] = self._make_index(len(entry.vector))
        index.add(entry.id, entry.vector)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.id]
        self._exact.pop((entry.scope, normal(entry.text)), None)
        index = self._indexes.get(entry.scope)
        if index is not None:
            index.remove(entry.id)
            if not len(index):
                del self._indexes[entry.scope]
        self._policy.forget(entry.id)
        self._changed = True

    # -- its life -----------------------------------------------------------------------------------

    def clear(self) -> int:
        """Forget all entries and the length of vectors; what was learned stays. How many there were."""
        with self._lock:
            count = len(self._entries)
            for entry in list(self._entries.values()):
                self._drop(entry)
            self._vectors.clear()
            self.dimensions = None
            return count

    def stats(self) -> SemanticStats:
        """Counts since it was made."""
        with self._lock:
            names = ("hits", "exact", "misses", "stores", "evictions", "expired", "audits", "refuted")
            counts = {name: self._counts[name] for name in names}
            labels = self._policy.seen if isinstance(self._policy, Learned) else 0
            return SemanticStats(
                entries=len(self._entries),
                scopes=len(self._indexes),
                labels=labels,
                guarded=dict(self._guarded),
                **counts,
            )

    def save(self) -> None:
        """Write the file now; nothing without a path. Raises OSError."""
        if self.path is None:
            return
        from langchain_cluster.cache.semantic.file import write

        with self._lock:
            if self._changed:
                learned = self._policy.state() if isinstance(self._policy, Learned) else None
                write(self.path, self.fingerprint, list(self._entries.values()), learned)
            self._saved, self._changed = self._clock(), False

    def _load(self) -> None:
        from langchain_cluster.cache.semantic.file import read

        kept = read(self.path, self.fingerprint)
        if kept is None:
            return
        now = self._clock()
        for entry in kept.entries:
            if entry.expires is None or entry.expires > now:
                entry.read = self._guards.read(entry.text)
                self._insert(entry, normal(entry.text))
                self.dimensions = len(entry.vector)
        self._next = 1 + max((entry.id for entry in kept.entries), default=0)
        if isinstance(self._policy, Learned) and kept.learned is not None:
            self._policy.restore(kept.learned, self._entries)

    def close(self) -> None:
        """Write the file. It can be used again."""
        self.save()

    async def aclose(self) -> None:
        """The asyncio twin of `close`."""
        await to_thread(self.close)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<SemanticCache {len(self)} entries, {self._policy!r}>"


def digest_of(words: str) -> str:
    """What two answers have in common that are the same but for how they are written."""
    return sha256(normal(words).encode()).hexdigest()[:32]


def _asked(request: Any) -> tuple[str, tuple[str, ...]] | None:
    if isinstance(request, str):
        return request, ("",)
    if not isinstance(request, Request):
        raise ConfigError(
            f"{type(request).__name__} is neither a Request nor a text", key="SemanticCache.lookup"
        )
    meaning = request.meaning
    return None if meaning is None else (meaning.text, (meaning.scope,))


def _kept(answer: Any) -> tuple[bytes | str, str]:
    if isinstance(answer, str):
        return answer, answer
    if isinstance(answer, bytes):
        return answer, answer.decode(errors="replace")
    raise ConfigError(f"{type(answer).__name__} is neither a text nor bytes", key="SemanticCache.store")


__all__ = ["Fixed", "Hit", "SemanticCache"]
