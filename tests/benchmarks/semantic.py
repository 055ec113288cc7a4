"""How often a semantic cache answers, and how often it is wrong: on streams, on pairs and on conversations.

    python tests/benchmarks/semantic.py --data ../shared/data

Three sets, which stay where they are: `banking77_train.csv` (PolyAI, CC BY 4.0) is asked as a stream, in
four shuffled orders, by a cache that learns; an answer is right when it was given to a question of the same
intent. `fow_pairs_dev.jsonl` and `fow_conversations_billing_dev.jsonl` (fow-cache, Mabon ap Gwyn, CC BY 4.0)
are pairs of which the second is asked after the first was stored. Who judges whether two answers are the
same knows the intents, as long as no `--noise` is asked for.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

FILES = ("banking77_train.csv", "fow_pairs_dev.jsonl", "fow_conversations_billing_dev.jsonl")
ORDERS = 4
ERROR_RATE = 0.01


class Remembered:
    """An embedder that embeds each text once, and gives every answer a direction of its own."""

    fingerprint = "remembered"

    def __init__(self, file: Path | None = None) -> None:
        import numpy

        from langchain_cluster.cache.semantic import MiniLm

        self._numpy, self._model = numpy, MiniLm()
        self._file = file
        self._vectors: dict[str, Any] = {}
        if file is not None and file.exists():
            with numpy.load(file) as kept:
                self._vectors = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def learn(self, texts: Iterable[str]) -> float:
        """Embed what is not known yet; seconds per text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        start = time.perf_counter()
        for n, text in enumerate(new, 1):
            self._vectors[text] = self._numpy.array(self._model.embed_query(text), self._numpy.float32)
            if n % 2_000 == 0:
                print(f"  embedded {n:,} of {len(new):,}", flush=True)
        seconds = (time.perf_counter() - start) / max(1, len(new))
        if self._file is not None and new:
            texts = list(self._vectors)
            self._numpy.savez(self._file, texts=texts, vectors=[self._vectors[text] for text in texts])
        return seconds

    def embed_query(self, text: str) -> Any:
        known = self._vectors.get(text)
        if known is None:  # the name of an intent, as an answer
            seed = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
            known = self._numpy.random.default_rng(seed).standard_normal(384)
        return known

    async def aembed_query(self, text: str) -> Any:
        return self.embed_query(text)


def interval(wrong: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a rate, 95 %."""
    if not of:
        return 0.0, 1.0
    rate, spread = wrong / of, z * z / of
    middle = (rate + spread / 2) / (1 + spread)
    half = z * sqrt(rate * (1 - rate) / of + spread / (4 * of)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def stream(
    rows: list[tuple[str, str]], embedder: Any, seed: int, *, noise: float = 0.0, **options: Any
) -> tuple[int, int, int, int]:
    """(hits, wrong ones, and the same of the later half) of one order."""
    from langchain_cluster.cache.semantic import SemanticCache

    order, chance = list(rows), Random(seed)
    chance.shuffle(order)
    cache = SemanticCache(embedder, seed=seed, **options)
    intents = sorted({intent for _, intent in rows})
    counts = [0, 0, 0, 0]

    def answer(intent: str) -> str:
        return chance.choice(intents) if noise and chance.random() < noise else intent

    for n, (text, intent) in enumerate(order):
        hit = cache.lookup(text)
        if hit is None:
            cache.store(text, answer(intent))
            continue
        wrong = hit.answer != intent
        for place in (0, 2) if n >= len(order) / 2 else (0,):
            counts[place] += 1
            counts[place + 1] += wrong
        if hit.audit:
            cache.audited(hit, answer(intent))
    return counts[0], counts[1], counts[2], counts[3]


def banking(folder: Path, embedder: Any, orders: int, noise: float) -> None:
    with Path(folder, FILES[0]).open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    seconds = embedder.learn(text for text, _ in rows)
    print(
        f"banking77: {len(rows):,} questions as a stream, {orders} orders"
        f" ({seconds * 1e3:.1f} ms to embed one)"
    )
    variants: list[tuple[str, dict[str, Any]]] = [
        (f"learned, error_rate={ERROR_RATE}", {"error_rate": ERROR_RATE}),
        ("fixed 0.90, with guards", {"threshold": 0.9}),
        ("fixed 0.90, no guards", {"threshold": 0.9, "guards": ()}),
    ]
    for name, options in variants:
        results = [stream(rows, embedder, seed, noise=noise, **options) for seed in range(orders)]
        hits, wrong, later_hits, later_wrong = (sum(column) for column in zip(*results, strict=True))
        each = ", ".join(f"{w / max(1, h):.2%} of {h / len(rows):.1%}" for h, w, _, _ in results)
        low, high = interval(wrong, hits)
        print(
            f"  {name:28} hits {hits / orders / len(rows):6.1%}  wrong per hit {wrong / max(1, hits):6.2%}"
            f" ({low:.2%} to {high:.2%})  later half {2 * later_hits / orders / len(rows):.1%},"
            f" {later_wrong / max(1, later_hits):.2%}\n      each order: {each}",
            flush=True,
        )


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def pairs(folder: Path, embedder: Any) -> None:
    from langchain_cluster.cache.semantic import SemanticCache

    rows = list(lines(Path(folder, FILES[1])))
    embedder.learn(text for row in rows for text in (row["a"], row["b"]))
    true, traps = sum(row["same_answer"] for row in rows), sum(not row["same_answer"] for row in rows)
    print(f"\nfow pairs: {traps} traps, {true} true pairs")
    variants: list[tuple[str, dict[str, Any]]] = [("as it is by default", {})]
    variants += [(f"threshold {at:.2f}", {"threshold": at}) for at in (0.8, 0.85, 0.95)]
    variants += [("threshold 0.90, no guards", {"guards": ()})]
    for name, options in variants:
        served = [0, 0]
        for row in rows:
            cache = SemanticCache(embedder, **options)
            cache.store(row["a"], "the answer")
            served[row["same_answer"]] += cache.lookup(row["b"]) is not None
        low, high = interval(served[0], traps)
        print(
            f"  {name:28} traps served {served[0] / traps:6.2%} ({low:.1%} to {high:.1%})"
            f"  true pairs served {served[1] / true:6.1%}"
        )


def conversations(folder: Path) -> None:
    from langchain_cluster import ClusteredLLM, Endpoint
    from langchain_cluster.cache.semantic import SemanticCache
    from langchain_cluster.testing import ScriptedModel

    rows = list(lines(Path(folder, FILES[2])))
    served: dict[bool, int] = {True: 0, False: 0}
    for row in rows:
        llm = ClusteredLLM([Endpoint("e", ScriptedModel("one", "two"))], semantic_cache=SemanticCache())
        llm.invoke(row["a"])
        served[row["same_answer"]] += llm.invoke(row["b"]).response_metadata["cluster"]["cache"] == "semantic"
        llm.cluster.close()
    traps = sum(not row["same_answer"] for row in rows)
    print(
        f"\nfow conversations, through a ClusteredLLM: {served[False]} of {traps} traps served,"
        f" {served[True]} of {len(rows) - traps} true pairs (earlier turns are compared exactly)"
    )


class Made:
    """An embedder of as many dimensions as the bundled one, whose vectors are there already."""

    fingerprint = "made"

    def __init__(self) -> None:
        self.vectors: dict[str, Any] = {}

    def embed_query(self, text: str) -> Any:
        return self.vectors[text]

    async def aembed_query(self, text: str) -> Any:
        return self.vectors[text]


def speed(sizes: Iterable[int]) -> None:
    import numpy

    from langchain_cluster.cache.semantic import SemanticCache

    print("\na lookup by meaning without its embedding: of 600 questions the median, each the least of three")
    rng = numpy.random.default_rng(1)
    for size in sizes:
        embedder = Made()
        cache = SemanticCache(embedder, max_entries=size)
        given = rng.standard_normal((size, 384)).astype(numpy.float32)
        given /= numpy.linalg.norm(given, axis=1, keepdims=True)
        start = time.perf_counter()
        for n, vector in enumerate(given):
            text = f"how do i reset thing{n} of my account"
            embedder.vectors[text] = vector
            cache.store(text, "yes")
        build = (time.perf_counter() - start) / size
        times, hits = [], 0
        for n in rng.integers(0, size, 600):
            text = f"how can i reset thing{n} of my account please"
            embedder.vectors[text] = given[n] + 0.01 * rng.standard_normal(384).astype(numpy.float32)
            cache._vectors.of(text)
            took = []
            for _ in range(3):
                start = time.perf_counter()
                hit = cache.lookup(text)
                took.append(time.perf_counter() - start)
            times.append(min(took))
            hits += hit is not None
        times.sort()
        print(
            f"  {size:8,} entries: {1e6 * times[300]:6.0f} µs (quickest {1e6 * times[0]:.0f})"
            f", {hits / 6:.0f} % found, {1e6 * build:.0f} µs to keep one",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder with the three files")
    parser.add_argument("--orders", type=int, default=ORDERS, help="shuffled orders of the stream")
    parser.add_argument("--noise", type=float, default=0.0, help="part of the answers that are any other")
    parser.add_argument("--vectors", type=Path, help="an .npz to keep vectors in between runs")
    parser.add_argument("--only", choices=("stream", "pairs", "conversations", "speed"))
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="for speed")
    args = parser.parse_args()
    if args.only in (None, "speed"):
        speed(args.entries)
    if args.only == "speed":
        return 0
    missing = [name for name in FILES if not Path(args.data, name).is_file()]
    if missing:
        print(f"semantic: skipped, {args.data} has no {', '.join(missing)}: give their folder as --data")
        return 0
    embedder = Remembered(args.vectors)
    if args.only in (None, "stream"):
        banking(args.data, embedder, args.orders, args.noise)
    if args.only in (None, "pairs"):
        pairs(args.data, embedder)
    if args.only in (None, "conversations"):
        conversations(args.data)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
