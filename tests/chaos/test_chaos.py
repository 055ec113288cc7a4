"""The one-minute version of chaos: every call is accounted for, and nothing is left behind.

    CHAOS_SEED=7 pytest -m chaos tests/chaos

The long one, with a display: `nox -s chaos`.
"""

from __future__ import annotations

import os
import sys
from random import SystemRandom

import pytest

from tests.chaos.run import RATE, chaos

CORES = os.cpu_count() or 1
SECONDS = 25.0  # and some for starting, ending and recovering: a minute in all


@pytest.mark.chaos
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts sockets and memory in /proc")
# Generators the SDKs leave unfinished are closed by the garbage collector, which may say so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_and_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\nchaos: CHAOS_SEED={seed}, {SECONDS:g} s", flush=True)
    report = chaos(SECONDS, seed=seed, callers=min(200, 50 * CORES), rate=RATE)
    print("\n".join(f"{what}: {how_much}" for what, how_much in report.rows()))
    assert report.wrong == []
    assert report.ledger.sent > SECONDS * RATE / 10, "the callers did ask"
    assert report.ledger.count("answered") > report.ledger.sent / 3, "and mostly were answered"
    assert {"kill", "pause"} & set(report.trouble.done)
