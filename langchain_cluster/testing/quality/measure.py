"""What a semantic cache makes of judged questions: of every threshold with and without guards, and learned.

Pairs are asked each by itself: the second question, after the first was answered. Questions with answers are
asked one after the other, in shuffled orders, of one cache that grows. A policy that learns needs such a
stream; pairs are made one for it: every question of theirs, with an answer of its own or its partner's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from langchain_cluster.cache.semantic import ENGLISH, Hit, MiniLm, SemanticCache
from langchain_cluster.testing.quality.interval import wilson
from langchain_cluster.testing.quality.read import Judged

THRESHOLDS = tuple(round(0.70 + 0.01 * step, 2) for step in range(30))
SHOWN = (0.75, 0.80, 0.85, 0.90, 0.95)
STREAMED = (0.80, 0.85, 0.90, 0.95)  # a stream is asked anew for each
_LOWEST = 1e-6


@dataclass(frozen=True, slots=True)
class Point:
    """What one policy did.

    Attributes:
        policy: "guards", "no guards" or "learned". threshold: cosine; of a learned one its `error_rate`.
        right, wrong: answers served. could: questions that could have been answered rightly.
        traps: questions for which an answer that was near would have been wrong.
    """

    policy: str
    threshold: float
    right: int
    wrong: int
    could: int
    traps: int

    @property
    def served(self) -> int:
        """Answers in all."""
        return self.right + self.wrong

    @property
    def precision(self) -> float:
        """Right answers per answer served, 0-1; 1 when none was."""
        return self.right / self.served if self.served else 1.0

    @property
    def hits(self) -> float:
        """Right answers per question that could have had one, 0-1."""
        return self.right / self.could if self.could else 0.0

    @property
    def false_hits(self) -> float:
        """Wrong answers per trap, 0-1."""
        return self.wrong / self.traps if self.traps else 0.0

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """95 % of precision, hits and false hits."""
        return {
            "precision": wilson(self.right, self.served),
            "hits": wilson(min(self.right, self.could), self.could),
            "false_hits": wilson(min(self.wrong, self.traps), self.traps),
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured. `kind` is "pairs" or "stream", `questions` how many were asked in each round."""

    kind: str
    questions: int
    points: tuple[Point, ...]


class Remembered:
    """An embedder that embeds each text once."""

    def __init__(self, embeddings: Any) -> None:
        self._embeddings = embeddings
        self._vectors: dict[str, Any] = {}

    def learn(self, texts: Iterable[str], told: Callable[[int, int], None]) -> None:
        """Embed them all; `told` how many of how many are done."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        for number, text in enumerate(new, 1):
            self._vectors[text] = self._embeddings.embed_query(text)
            told(number, len(new))

    def embed_query(self, text: str) -> Any:
        """One vector."""
        if text not in self._vectors:
            self._vectors[text] = self._embeddings.embed_query(text)
        return self._vectors[text]

    async def aembed_query(self, text: str) -> Any:
        """The same, awaited."""
        return self.embed_query(text)


def measure(
    judged: Judged,
    embeddings: Any = None,
    *,
    error_rates: Sequence[float] = (0.01,),
    orders: int = 2,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Measured:
    """Measure every policy.

    Args:
        embeddings: LangChain `Embeddings`; None for those of the extra `semantic`.
        error_rates: of the learned policies. orders: in which the stream is asked, >= 1.
        progress: told what is done, how many steps of how many.

    Raises:
        ImportError: no embeddings are given and the extra is not installed.
    """
    embedder = Remembered(MiniLm() if embeddings is None else embeddings)
    texts = [text for a, b, _ in judged.pairs for text in (a, b)] + [text for text, _ in judged.stream]
    embedder.learn(texts, lambda done, of: progress("embedding", done, of))
    stream = judged.stream or _as_stream(judged.pairs)
    points: list[Point] = []
    if judged.pairs:
        points += _pairs(judged.pairs, embedder, progress)
    else:
        for guarded in (True, False):
            for threshold in STREAMED:
                options = {"threshold": threshold, "guards": ENGLISH if guarded else ()}
                name = "guards" if guarded else "no guards"
                points.append(_asked(name, threshold, stream, embedder, options, orders, seed, progress))
    for rate in error_rates:
        points.append(_asked("learned", rate, stream, embedder, {"error_rate": rate}, orders, seed, progress))
    kind = "pairs" if judged.pairs else "stream"
    return Measured(kind, len(judged.pairs or judged.stream), tuple(points))


def _pairs(
    pairs: Sequence[tuple[str, str, bool]], embedder: Any, progress: Callable[[str, int, int], None]
) -> list[Point]:
    """Each pair in a cache of its own, once: what is served at a cosine is served at all lower thresholds."""
    could = sum(same for _, _, same in pairs)
    points = []
    for name, guards in (("guards", ENGLISH), ("no guards", ())):
        scores: list[tuple[float, bool]] = []
        for number, (first, second, same) in enumerate(pairs, 1):
            cache = SemanticCache(embedder, threshold=_LOWEST, guards=guards)
            cache.store(first, "the answer")
            hit = cache.lookup(second)
            if hit is not None:
                scores.append((hit.score, same))
            progress(name, number, len(pairs))
        for threshold in THRESHOLDS:
            served = [same for score, same in scores if score >= threshold]
            right = sum(served)
            points.append(Point(name, threshold, right, len(served) - right, could, len(pairs) - could))
    return points


def _as_stream(pairs: Sequence[tuple[str, str, bool]]) -> tuple[tuple[str, str], ...]:
    answers: dict[str, str] = {}
    for first, second, same in pairs:
        answer = answers.setdefault(first, first)
        answers.setdefault(second, answer if same else second)
    return tuple(answers.items())


def _asked(
    name: str,
    threshold: float,
    stream: Sequence[tuple[str, str]],
    embedder: Any,
    options: dict[str, Any],
    orders: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Point:
    right = wrong = could = 0
    for order in range(orders):
        asked = list(stream)
        Random(seed + order).shuffle(asked)
        answers = _Answers(embedder)
        cache = SemanticCache(answers, seed=seed + order, max_entries=len(asked) + 1, **options)
        known: set[str] = set()
        for number, (text, answer) in enumerate(asked, 1):
            could += answer in known
            known.add(answer)
            said = answers.said(answer)
            hit: Hit | None = cache.lookup(text)
            if hit is None:
                cache.store(text, said)
            elif hit.answer == said:
                right += 1
            else:
                wrong += 1
            if hit is not None and hit.audit:
                cache.audited(hit, said)
            progress(f"{name} {threshold:g}", order * len(asked) + number, orders * len(asked))
    asked_in_all = orders * len(stream)
    return Point(name, threshold, right, wrong, could, asked_in_all)


class _Answers:
    """An embedder to which answers have nothing in common: their names are no sentences to compare."""

    def __init__(self, embedder: Remembered) -> None:
        self._embedder = embedder
        self._said: dict[str, Any] = {}
        self._numpy: Any = None

    def said(self, answer: str) -> str:
        """The answer as the cache is told it."""
        return f"\x00{answer}"

    def embed_query(self, text: str) -> Any:
        """A direction of its own for each answer."""
        if not text.startswith("\x00"):
            return self._embedder.embed_query(text)
        if text not in self._said:
            length = len(next(iter(self._embedder._vectors.values())))
            chance = Random(text)
            self._said[text] = [chance.gauss(0.0, 1.0) for _ in range(length)]
        return self._said[text]

    async def aembed_query(self, text: str) -> Any:
        """The same, awaited."""
        return self.embed_query(text)
