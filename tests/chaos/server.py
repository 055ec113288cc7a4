"""A moody model server, run as a process of its own: what it does wrong changes every second or so.

    python tests/chaos/server.py --port N --name gpu-1 --seed 7

Its answer says the question over and a checksum of it, whoever answers, so that two endpoints agree
word for word and an answer that is somebody else's is noticed. SIGUSR1 makes it well for good.
"""

from __future__ import annotations

import argparse
import signal
import time
import zlib
from random import Random

from langchain_cluster.testing import SimulatedServer, faults
from langchain_cluster.testing.simulated.dialect import Ask
from langchain_cluster.testing.simulated.latency import LogNormal, Uniform

MOODS: tuple[faults.Fault, ...] = (
    faults.Status(500),
    faults.Status(502, "<html>Bad gateway</html>"),
    faults.Status(503, headers={"retry-after": "1"}),
    faults.Status(529),
    faults.RateLimited(),
    faults.RateLimited(retry_after_ms=300),
    faults.Hang(),
    faults.Refuse(),
    faults.SlowFirstToken(3.0),
    faults.ResetAfter(0),
    faults.ResetAfter(5),
    faults.CutAfter(0),
    faults.CutAfter(7),
    faults.ChunkedCutAfter(4),
    faults.StallAfter(0),
    faults.StallAfter(6),
    faults.MalformedChunk(3),
    faults.NoDone(),
    faults.NoDone(close=True),
    faults.ErrorEvent(0),
    faults.ErrorEvent(5),
    faults.Html(),
    faults.NullChoices(),
    faults.EmptyBody(),
    faults.HalfJson(),
    faults.ErrorBody(),
)


def checked(text: str) -> str:
    """What a right answer to `text` is."""
    return f"{text} is what you said, and {zlib.crc32(text.encode()):08x} is its checksum"


def said(ask: Ask) -> str:
    """The answer; after a prefill the rest of it."""
    return checked(ask.text).removeprefix(ask.begun)


def main() -> None:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    rng = Random(given.seed)
    well: list[int] = []

    def be_well(*_: object) -> None:
        well.append(1)

    signal.signal(signal.SIGUSR1, be_well)
    with SimulatedServer(port=given.port, name=given.name, seed=given.seed, keep=100) as server:
        server.behave(
            reply=said, latency=LogNormal(0.02, 0.7), first_token=Uniform(0.0, 0.02), between_tokens=0.002
        )
        while not well:
            server.heal()
            for _ in range(rng.choice((0, 0, 1, 1, 2))):
                server.fail(rng.choice(MOODS), probability=rng.choice((0.05, 0.2, 0.5, 1.0)))
            end = time.monotonic() + rng.uniform(0.3, 2.0)
            while not well and time.monotonic() < end:
                time.sleep(0.02)
        server.heal()
        while True:
            time.sleep(60.0)


if __name__ == "__main__":
    main()
