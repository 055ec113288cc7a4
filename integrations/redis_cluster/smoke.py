"""Two caches over one Redis Cluster; exits 1 unless both are answered, whichever master holds the answer.

Tenants are spread over the masters, and what is kept for one of them is taken back. With `--kill PID` a
master is killed half-way: no call may fail, and hits have to return.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.cache import LayeredCache, MemoryCache, RedisCache
from langchain_cluster.testing import ScriptedModel

URL = os.environ.get("REDIS_URL", "redis+cluster://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003")
PREFIX = f"lc:smoke:{os.getpid()}:"
TENANTS = [f"tenant-{n}" for n in range(24)]


def build(model: ScriptedModel, *, near: bool = True) -> ClusteredLLM:
    """What each process builds."""
    shared = RedisCache.from_url(URL, PREFIX, 60.0)
    cache = LayeredCache([MemoryCache(), shared]) if near else shared
    return ClusteredLLM([Endpoint("gpu-1", model)], cache=cache)


def sources(llm: ClusteredLLM) -> list[str]:
    """Where each tenant's answer came from."""
    found = []
    for tenant in TENANTS:
        config = {"configurable": {"cluster": {"tenant": tenant}}}
        found.append(str(llm.invoke("hello", config).response_metadata["cluster"]["cache"]))
    return found


def slots(llm: ClusteredLLM) -> set[str]:
    """The masters that hold something."""
    import redis

    client = redis.RedisCluster.from_url(URL.replace("redis+cluster://", "redis://").partition(",")[0])
    nodes = set()
    for tenant in TENANTS:
        (key,) = llm.cache_keys("hello", {"configurable": {"cluster": {"tenant": tenant}}})
        nodes.add(client.get_node_from_key(PREFIX + key).name)
    client.close()
    return nodes


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill", type=int, metavar="PID", help="of a master, which is killed half-way")
    args = parser.parse_args(arguments)
    model = ScriptedModel("the answer")
    one, other = build(model), build(model)
    first, near, far = sources(one), sources(one), sources(other)
    masters = len(slots(one))
    assert one.cluster.cache is not None
    removed = one.cluster.cache.invalidate(tenant=TENANTS[0])
    found = [set(first), set(near), set(far)]
    right = found == [{"miss"}, {"memory"}, {"redis"}] and masters == 3 and removed == 1
    told = f"{first[0]}, {near[0]}, {far[0]}; {removed} taken back"
    sys.stdout.write(f"{len(TENANTS)} tenants on {masters} masters: {told}\n")
    one.cluster.cache.clear()
    for llm in (one, other):
        llm.cluster.close()
    if args.kill is not None:
        right = survives(args.kill) and right
    return 0 if right else 1


def survives(pid: int) -> bool:
    """Whether no call fails while a master is killed, and its tenants' answers are kept again after that."""
    llm = build(ScriptedModel("the answer"), near=False)  # every look goes to the masters
    sources(llm)
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    while set(sources(llm)) != {"redis"}:
        if time.monotonic() - began > 30:
            sys.stdout.write("hits do not return after a master was killed\n")
            return False
    seconds = time.monotonic() - began
    sys.stdout.write(f"a master was killed: no call failed, all hits were back after {seconds:.1f} s\n")
    llm.cluster.close()
    return True


if __name__ == "__main__":
    sys.exit(main())
