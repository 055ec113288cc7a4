"""Blocking calls on threads of ours: waited for with a limit, never waited for in vain."""

from __future__ import annotations

import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from threading import Event, Lock
from time import monotonic, sleep
from typing import Any

import pytest

from langchain_cluster.drive import workers as module
from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.drive.workers import AHEAD, InPlace, Pump, Workers
from langchain_cluster.testing.clock import FakeClock

CLOCK = SystemClock()
NAME = "langchain-cluster-call"


def eventually(holds: Callable[[], bool], within: float = 5.0) -> None:
    until = monotonic() + within
    while not holds():
        assert monotonic() < until, "it never happened"
        sleep(0.001)


def soon() -> float:
    return CLOCK.now() + 5.0


class Ours:
    """Workers, and how many threads they have."""

    def __init__(self) -> None:
        self.workers = Workers()
        self._before = set(threading.enumerate())

    @property
    def threads(self) -> int:
        new = set(threading.enumerate()) - self._before
        return sum(thread.name == NAME for thread in new)


@pytest.fixture
def ours() -> Iterator[Ours]:
    ours = Ours()
    yield ours
    ours.workers.close()
    eventually(lambda: ours.threads == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_threads_of_its_own(ours: Ours) -> None:
    ours.workers.start(lambda: 1).wait(CLOCK, soon())
    eventually(lambda: bool(ours.workers._idle))
    child = os.fork()
    if child == 0:
        try:
            os._exit(ours.workers.start(lambda: 7).wait(CLOCK, soon()))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


# -- jobs ------------------------------------------------------------------------------------------


def test_a_job_answers_what_was_done(ours: Ours) -> None:
    job = ours.workers.start(lambda: threading.current_thread().name)
    assert job.wait(CLOCK, soon()) == NAME


def test_a_job_raises_what_was_raised(ours: Ours) -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ours.workers.start(fail).wait(CLOCK, None)


def test_even_what_is_no_exception_reaches_whoever_waits(ours: Ours) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        ours.workers.start(leave).wait(CLOCK, soon())
    assert ours.workers.start(lambda: "alive").wait(CLOCK, soon()) == "alive"


def test_whoever_waits_does_not_wait_longer_than_its_limit(ours: Ours) -> None:
    release = Event()
    job = ours.workers.start(release.wait)
    clock = FakeClock(0.0)
    with pytest.raises(TimeoutError):
        job.wait(clock, 0.0)
    release.set()


def test_a_job_runs_in_the_callers_context(ours: Ours) -> None:
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nobody's")
    mine.set("the caller's")
    assert ours.workers.start(mine.get).wait(CLOCK, soon()) == "the caller's"
    ours.workers.start(lambda: mine.set("the worker's")).wait(CLOCK, soon())
    assert mine.get() == "the caller's"


def test_no_thread_is_made_before_it_is_needed_and_one_serves_many_jobs(ours: Ours) -> None:
    assert ours.threads == 0
    for n in range(20):
        assert ours.workers.start(lambda n=n: n).wait(CLOCK, soon()) == n
        eventually(lambda: len(ours.workers._idle) == 1)
    assert ours.threads == 1


def test_jobs_at_once_have_a_thread_each(ours: Ours) -> None:
    meet = threading.Barrier(5)
    jobs = [ours.workers.start(lambda: meet.wait(5.0)) for _ in range(5)]
    assert sorted(job.wait(CLOCK, soon()) for job in jobs) == [0, 1, 2, 3, 4]
    assert ours.threads == 5


def test_threads_are_daemons(ours: Ours) -> None:
    daemon = ours.workers.start(lambda: threading.current_thread().daemon)
    assert daemon.wait(CLOCK, soon()) is True


def test_closing_ends_idle_threads_and_busy_ones_when_they_are_done() -> None:
    ours, release = Ours(), Event()
    ours.workers.start(lambda: None).wait(CLOCK, soon())
    eventually(lambda: len(ours.workers._idle) == 1)
    busy = ours.workers.start(lambda: None)
    busy.wait(CLOCK, soon())
    eventually(lambda: len(ours.workers._idle) == 1)
    busy = ours.workers.start(release.wait)
    ours.workers.close()
    assert ours.threads == 1
    release.set()
    assert busy.wait(CLOCK, soon()) is True
    eventually(lambda: ours.threads == 0)


def test_workers_that_were_closed_can_begin_again(ours: Ours) -> None:
    ours.workers.close()
    assert ours.workers.start(lambda: 5).wait(CLOCK, soon()) == 5
    eventually(lambda: len(ours.workers._idle) == 1)
    assert ours.workers.start(lambda: 6).wait(CLOCK, soon()) == 6


def test_a_thread_without_work_ends_by_itself(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.01)
    ours.workers.start(lambda: None).wait(CLOCK, soon())
    eventually(lambda: ours.threads == 0)
    assert ours.workers._idle == []
    assert ours.workers.start(lambda: "again").wait(CLOCK, soon()) == "again"


def test_a_thread_that_was_taken_off_the_shelf_waits_for_its_job(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its patience ends between being taken and being given the job."""
    monkeypatch.setattr(module, "IDLE", 0.01)
    ours.workers.start(lambda: None).wait(CLOCK, soon())
    eventually(lambda: len(ours.workers._idle) == 1 or ours.threads == 0)
    with ours.workers._lock:
        taken = ours.workers._idle.pop() if ours.workers._idle else None
    if taken is None:
        pytest.skip("it ended too soon on this machine")
    sleep(0.05)
    assert ours.threads == 1
    job = module.Job(lambda: "late")
    taken.put(job)
    assert job.wait(CLOCK, soon()) == "late"


def test_an_idle_thread_does_not_keep_the_last_answer(ours: Ours) -> None:
    class Answer:
        pass

    job = ours.workers.start(Answer)
    answer = job.wait(CLOCK, soon())
    kept = weakref.ref(answer)
    del answer, job
    eventually(lambda: kept() is None)


# -- pumps -----------------------------------------------------------------------------------------


class Source:
    """Chunks that come when they are let, and a look at how far it was read."""

    def __init__(self, n: int, error: BaseException | None = None, gate: Any = None) -> None:
        self.n, self.error, self.gate = n, error, gate
        self.read = 0
        self.closed = Event()

    def chunks(self) -> Iterator[int]:
        try:
            for n in range(self.n):
                if self.gate is not None:
                    self.gate.acquire()
                self.read = n + 1
                yield n
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


def drained(pump: Pump) -> list[int]:
    got = []
    while True:
        try:
            got.append(pump.next(soon()))
        except StopIteration:
            return got


@pytest.mark.parametrize("n", [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 10 * AHEAD])
def test_every_chunk_comes_out_in_order(ours: Ours, n: int) -> None:
    assert drained(Pump(Source(n).chunks(), ours.workers, CLOCK)) == list(range(n))


def test_it_is_read_a_bounded_way_ahead(ours: Ours) -> None:
    source = Source(10 * AHEAD)
    pump = Pump(source.chunks(), ours.workers, CLOCK)
    eventually(lambda: source.read == AHEAD)
    sleep(0.02)
    assert source.read == AHEAD
    for _ in range(AHEAD // 2):
        pump.next(soon())
    eventually(lambda: source.read > AHEAD)
    assert drained(pump)[-1] == 10 * AHEAD - 1


def test_what_the_source_raises_comes_after_what_it_gave(ours: Ours) -> None:
    pump = Pump(Source(3, OSError("cut")).chunks(), ours.workers, CLOCK)
    assert [pump.next(soon()) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="cut"):
        pump.next(soon())


def test_a_chunk_is_not_waited_for_longer_than_the_limit(ours: Ours) -> None:
    gate, clock = Lock(), FakeClock(0.0)
    gate.acquire()
    source = Source(1, gate=gate)
    pump = Pump(source.chunks(), ours.workers, clock)
    with pytest.raises(TimeoutError):
        pump.next(0.0)
    gate.release()
    assert pump.next(10.0) == 0  # the one that came too late is not lost
    with pytest.raises(StopIteration):
        pump.next(10.0)


def test_closing_never_blocks_and_the_source_is_closed_when_its_read_ends(ours: Ours) -> None:
    gate = Lock()
    gate.acquire()
    source = Source(5, gate=gate)
    pump = Pump(source.chunks(), ours.workers, CLOCK)
    begin = monotonic()
    pump.close()
    assert monotonic() - begin < 1.0
    assert not source.closed.is_set()
    gate.release()
    assert source.closed.wait(5.0)
    assert source.read == 1


def test_closing_frees_a_worker_that_waits_for_room(ours: Ours) -> None:
    source = Source(10 * AHEAD)
    pump = Pump(source.chunks(), ours.workers, CLOCK)
    eventually(lambda: source.read == AHEAD)
    pump.close()
    assert source.closed.wait(5.0)
    assert source.read <= AHEAD + 1


def test_a_source_that_fails_to_close_is_heard_of(ours: Ours) -> None:
    class Stubborn:
        def __init__(self, error: BaseException | None) -> None:
            self.error = error

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            raise self.error or StopIteration

        def close(self) -> None:
            raise ValueError("will not close")

    with pytest.raises(ValueError, match="will not close"):
        Pump(Stubborn(None), ours.workers, CLOCK).next(soon())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="first"):
        Pump(Stubborn(OSError("first")), ours.workers, CLOCK).next(soon())  # type: ignore[arg-type]


def test_a_source_that_cannot_be_closed_needs_not(ours: Ours) -> None:
    assert drained(Pump(iter([1, 2, 3]), ours.workers, CLOCK)) == [1, 2, 3]


# -- in place --------------------------------------------------------------------------------------


def test_in_place_reads_here_and_closes_here() -> None:
    source = Source(3)
    here = InPlace(source.chunks())
    assert [here.next(None), here.next(0.0)] == [0, 1]
    assert source.read == 2
    here.close()
    assert source.closed.is_set()
    with pytest.raises(StopIteration):
        here.next(None)


def test_in_place_closes_what_can_be_closed_only() -> None:
    here = InPlace(iter([1]))
    here.close()
    assert here.next(None) == 1
