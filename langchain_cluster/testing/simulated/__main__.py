"""Run a simulated server as a process of its own: python -m langchain_cluster.testing.simulated --port N."""

from __future__ import annotations

import argparse
import signal
import sys

from langchain_cluster.testing.simulated.latency import parse
from langchain_cluster.testing.simulated.server import SimulatedServer


def main() -> None:
    """Serve until SIGTERM or SIGINT; one line with the url tells that it is ready."""
    parser = argparse.ArgumentParser(prog="simulated", description="A simulated model server.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: for other machines too")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--name", default="default", help="of the endpoint without a prefix")
    parser.add_argument("--latency", type=parse, default=0.0, help="0.2, uniform:0.1,0.3, lognormal:0.2,0.5")
    parser.add_argument("--first-token", type=parse, default=0.0)
    parser.add_argument("--between-tokens", type=parse, default=0.0)
    parser.add_argument("--tokens", type=int, default=None, help="words of an answer")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    server = SimulatedServer(host=given.host, port=given.port, name=given.name, seed=given.seed, keep=1000)
    server.behave(
        latency=given.latency,
        first_token=given.first_token,
        between_tokens=given.between_tokens,
        tokens=given.tokens,
    )
    # Blocked before the thread starts, which inherits it: the signals are left for sigwait.
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.sigwait(endings)


if __name__ == "__main__":
    main()
