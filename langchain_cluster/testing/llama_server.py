"""One llama.cpp server in this process. A script, so that it starts without importing the package.

python llama_server.py --port N --weights FILE [--context 4096] [--parallel 2] [--threads 1] [--cache 8192]
"""

from __future__ import annotations

import argparse
import threading


def main() -> None:
    """Serve until killed."""
    import xllamacpp

    parser = argparse.ArgumentParser(prog="llama_server", description="A llama.cpp server.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--weights", required=True, help="a GGUF file")
    parser.add_argument("--context", type=int, default=4096, help="tokens, shared by the parallel calls")
    parser.add_argument("--parallel", type=int, default=2, help="calls answered at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=int, default=8192, help="MiB for prompts computed before")
    given = parser.parse_args()
    setup = xllamacpp.CommonParams()
    setup.model.path = given.weights
    setup.hostnames = ["127.0.0.1"]
    setup.port = given.port
    setup.n_ctx = given.context
    setup.n_parallel = given.parallel
    setup.cpuparams.n_threads = setup.cpuparams_batch.n_threads = given.threads
    setup.endpoint_metrics = True
    setup.cache_ram_mib = given.cache
    server = xllamacpp.Server(setup)
    threading.Event().wait()
    del server  # held until here: it stops serving when it is collected


if __name__ == "__main__":
    main()
