"""Run a program that ends when whoever started it does: python leash.py PROGRAM [ARGUMENT ...].

PROGRAM is a path or a module. Standard input is the leash: the parent holds the other end of that
pipe and writes nothing, so reading it returns when the parent is gone, however it went. A parent
death signal would do so on Linux alone, and when the starting *thread* ends, not the process.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path

STDIN = 0


def end_with_the_parent() -> None:
    """Wait until the other end of standard input is closed, then end this process at once."""
    while os.read(STDIN, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Hold on to the parent, then become the program."""
    threading.Thread(target=end_with_the_parent, name="leash", daemon=True).start()
    del sys.argv[0]
    sys.path.append(str(Path(__file__).parents[2]))  # a source checkout that was never installed
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
