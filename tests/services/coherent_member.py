"""A process that reads `k` through layers of its own: coherent_member.py VALKEY SECONDS FALLBACK.

Values are the time they were written. It prints, for each new value, how long after that it was first read,
then how old the oldest was that it was ever given.
"""

from __future__ import annotations

import json
import sys
import time

from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache

PREFIX, LISTENING = "coherent:", "listening"

if __name__ == "__main__":
    url, seconds, fallback = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    shared = RedisCache.from_url(url, PREFIX, connect_timeout=20.0, timeout=20.0)
    cache = LayeredCache([MemoryCache(), shared], fallback_ttl=fallback)
    while not cache._coherence.listening:  # type: ignore[union-attr]
        cache.get("begin")
        time.sleep(0.01)
    shared.set(LISTENING, b"")
    ends, seen, delays, oldest = time.time() + seconds, b"", [], 0.0
    while time.time() < ends:
        before = time.time()  # what is read is not older because this process had to wait for a processor
        raw = cache.get("k")
        if raw is not None:
            oldest = max(oldest, before - float(raw))
            if raw != seen:
                seen = raw
                delays.append(time.time() - float(raw))
        time.sleep(0.0005)
    print(json.dumps([delays, oldest]))
    cache.close()
