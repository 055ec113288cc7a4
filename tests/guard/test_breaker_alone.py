"""A breaker around functions, coroutines, generators, blocks: all give their permit back in the end."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from langchain_cluster import BreakerPolicy, CircuitBreaker, CircuitOpen, ClusterError, ConfigError
from langchain_cluster.drive.clock import SystemClock
from langchain_cluster.guard import CircuitBreaker as GuardBreaker
from langchain_cluster.testing.clock import FakeClock


class Failing:
    """Something that fails while `broken`, and counts how often it was asked."""

    def __init__(self) -> None:
        self.broken: BaseException | None = ConnectionError("refused")
        self.asked = 0

    def ask(self, what: str = "x") -> str:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return what.upper()

    async def aask(self, what: str = "x") -> str:
        await asyncio.sleep(0)
        return self.ask(what)

    def stream(self, what: str = "x") -> Iterator[str]:
        yield "first"
        yield self.ask(what)

    async def astream(self, what: str = "x") -> AsyncIterator[str]:
        yield "first"
        yield await self.aask(what)


def made(clock: FakeClock | None = None, **policy: Any) -> CircuitBreaker:
    policy = {"consecutive_failures": 3, "open_for": 8.0} | policy
    return CircuitBreaker(BreakerPolicy(**policy), clock or FakeClock(1000.0))


def drained(stream: Iterator[str]) -> str:
    return "".join(stream)[len("first") :]


async def adrained(stream: AsyncIterator[str]) -> str:
    return "".join([chunk async for chunk in stream])[len("first") :]


def guarded(way: str, breaker: CircuitBreaker, it: Failing) -> Callable[[], Any]:
    """Ask `it` under `breaker` in one of the ways there are; the result may have to be awaited."""

    async def async_block() -> str:
        async with breaker:
            return await it.aask()

    def block(hold: Any = breaker) -> str:
        with hold:
            return it.ask()

    stream, astream = breaker(it.stream), breaker(it.astream)
    ways: dict[str, Callable[[], Any]] = {
        "function": breaker(it.ask),
        "coroutine": breaker(it.aask),
        "generator": lambda: drained(stream()),
        "async generator": lambda: adrained(astream()),
        "with": block,
        "async with": async_block,
        "hold": lambda: block(breaker.hold()),
        "a function that returns a coroutine": breaker(lambda: it.aask()),
        "a function that returns a generator": lambda: drained(breaker(lambda: it.stream())()),
        "a function that returns an async generator": lambda: adrained(breaker(lambda: it.astream())()),
    }
    return ways[way]


WAYS = [
    "function", "coroutine", "generator", "async generator", "with", "async with", "hold",
    "a function that returns a coroutine", "a function that returns a generator",
    "a function that returns an async generator",
]  # fmt: skip


async def outcome(call: Callable[[], Any]) -> Any:
    try:
        value = call()
        return await value if inspect.isawaitable(value) else value
    except (ConnectionError, CircuitOpen, ValueError) as error:
        return error


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_opens_refuses_probes_and_closes(way: str) -> None:
    clock, it = FakeClock(1000.0), Failing()
    breaker = made(clock)
    call = guarded(way, breaker, it)
    for _ in range(3):
        assert isinstance(await outcome(call), ConnectionError)
    assert breaker.state == "open"
    refused = await outcome(call)
    assert isinstance(refused, CircuitOpen)
    assert refused.state == "open"
    assert refused.retry_after == breaker.open_until - 1000.0
    assert it.asked == 3  # nobody was asked in vain
    it.broken = None
    clock.advance(refused.retry_after)
    assert await outcome(call) == "X"
    assert breaker.state == "closed"
    assert await outcome(call) == "X"
    assert breaker.counts(clock.now())[:2] == (1, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_gives_the_probe_back_when_the_error_does_not_count(way: str) -> None:
    clock, it = FakeClock(1000.0), Failing()
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), clock, counts=ConnectionError)
    call = guarded(way, breaker, it)
    await outcome(call)
    clock.advance(5.0)
    it.broken = ValueError("what you ask is wrong")
    for asked in range(2, 6):
        assert await outcome(call) is it.broken
        assert (breaker.state, it.asked) == ("half_open", asked)


def test_it_needs_nothing_but_a_function() -> None:
    breaker = CircuitBreaker()
    assert isinstance(breaker, GuardBreaker)
    assert isinstance(breaker._clock, SystemClock)
    assert breaker.policy == BreakerPolicy()
    assert breaker(len)("four") == 4


def test_a_guarded_function_keeps_its_name_its_kind_and_its_arguments() -> None:
    breaker, it = made(), Failing()
    it.broken = None

    @breaker
    def twice(what: str, *, times: int = 2) -> str:
        """What it does."""
        return what * times

    assert (twice.__name__, twice.__doc__) == ("twice", "What it does.")
    assert twice("ab", times=3) == "ababab"
    assert inspect.iscoroutinefunction(breaker(it.aask))
    assert inspect.isgeneratorfunction(breaker(it.stream))
    assert inspect.isasyncgenfunction(breaker(it.astream))
    assert inspect.iscoroutinefunction(breaker(partial(it.aask, "y")))


def test_a_method_is_guarded_for_all_of_its_objects() -> None:
    breaker = made(consecutive_failures=2)

    class Client:
        @breaker
        def get(self) -> str:
            raise ConnectionError

    for client in (Client(), Client()):
        with pytest.raises(ConnectionError):
            client.get()
    with pytest.raises(CircuitOpen):
        Client().get()


async def test_an_object_that_is_called_as_a_coroutine_is_guarded_until_it_has_been_awaited() -> None:
    class Caller:
        async def __call__(self) -> None:
            raise ConnectionError

    breaker = made(consecutive_failures=1)
    with pytest.raises(ConnectionError):
        await breaker(Caller())()
    assert breaker.state == "open"


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_in_between_begins_the_row_anew(way: str) -> None:
    it = Failing()
    breaker = made(failure_rate=1.0, min_calls=1000)
    call, broken = guarded(way, breaker, it), it.broken
    for _ in range(3):
        for it.broken in (broken, broken, None):
            await outcome(call)
    assert (breaker.state, breaker.counts(1000.0)) == ("closed", (9, 6, 0))


# -- what counts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "error", "opens"),
    [
        (Exception, ValueError(), True),
        (ConnectionError, ConnectionResetError(), True),
        (ConnectionError, ValueError(), False),
        ((ConnectionError, TimeoutError), TimeoutError(), True),
        ((ConnectionError, TimeoutError), ValueError(), False),
        (lambda error: "503" in str(error), RuntimeError("503 busy"), True),
        (lambda error: "503" in str(error), RuntimeError("404 gone"), False),
        (ConnectionError, ExceptionGroup("both", [ValueError(), ConnectionError()]), True),
        (ConnectionError, ExceptionGroup("both", [ValueError(), KeyError()]), False),
        (Exception, CircuitOpen("open"), False),  # of another breaker: nobody was asked
        (Exception, asyncio.CancelledError(), False),
        (Exception, KeyboardInterrupt(), False),
        (Exception, SystemExit(), False),
        (Exception, GeneratorExit(), False),
        (lambda error: True, asyncio.CancelledError(), False),
    ],
)
@pytest.mark.parametrize("block", [False, True])
def test_what_counts_as_a_failure(counts: Any, error: BaseException, opens: bool, block: bool) -> None:
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), FakeClock(), counts=counts)

    def fail() -> None:
        raise error

    def fail_in_a_block() -> None:
        with breaker:
            fail()

    with pytest.raises(type(error)):
        (fail_in_a_block if block else breaker(fail))()
    assert breaker.state == ("open" if opens else "closed")
    assert breaker.counts(1000.0) == (0, 0, 0)


@pytest.mark.parametrize("block", [False, True])
def test_a_predicate_that_raises_wedges_nothing(block: bool) -> None:
    clock, it = FakeClock(1000.0), Failing()
    broken = True

    def counts(error: Exception) -> bool:
        if broken:
            return True
        raise LookupError("a mistake in the predicate")

    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), clock, counts=counts)
    call = guarded("with" if block else "function", breaker, it)
    with pytest.raises(ConnectionError):
        call()
    clock.advance(5.0)
    broken = False
    for _ in range(3):
        with pytest.raises(LookupError):
            call()
    assert breaker.state == "half_open"


@pytest.mark.parametrize("counts", [(), "ConnectionError", 5, None, KeyboardInterrupt, (ValueError, 3), int])
def test_what_cannot_say_which_exceptions_count_is_a_config_error(counts: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^counts: .*subclass of Exception, a tuple of them, or a predicate"
    ):
        CircuitBreaker(counts=counts)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"policy": None}, "policy: NoneType is not a BreakerPolicy"),
        ({"policy": {"window": 3}}, "policy: dict is not a BreakerPolicy"),
        ({"clock": 5.0}, r"clock: float has no now\(\) -> seconds"),
        ({"on_change": "x"}, "on_change: str cannot be called with an event"),
    ],
)
def test_other_arguments_that_are_wrong_are_config_errors(arguments: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CircuitBreaker(**arguments)
    with pytest.raises(ConfigError, match="breaker: int cannot be called"):
        CircuitBreaker()(5)  # type: ignore[arg-type]


def test_a_block_may_say_itself_that_it_failed() -> None:
    breaker = made(consecutive_failures=2)
    with breaker as call:
        call.failed()
    with breaker.hold() as call:
        call.failed()
    assert breaker.state == "open"
    assert breaker.reason == "2 failures in a row"


def test_a_block_that_failed_did_so_whatever_it_raises() -> None:
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=1), FakeClock(), counts=ConnectionError)

    def fail() -> None:
        with breaker as call:
            call.failed()
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert breaker.state == "open"


# -- leaving early -------------------------------------------------------------------------------


def half_open(**policy: Any) -> CircuitBreaker:
    clock = FakeClock(1000.0)
    breaker = made(clock, **policy)
    for _ in range(3):
        with pytest.raises(ConnectionError), breaker:
            raise ConnectionError
    clock.advance(breaker.open_until - 1000.0)
    return breaker


@pytest.mark.parametrize("way", ["coroutine", "async generator", "async with"])
async def test_a_cancelled_probe_gives_its_place_back(way: str) -> None:
    breaker, it, under_way = half_open(), Failing(), asyncio.Event()

    async def hang(what: str = "x") -> str:
        under_way.set()
        await asyncio.Event().wait()
        return what

    it.aask = hang  # type: ignore[method-assign]
    call = guarded(way, breaker, it)
    for _ in range(3):
        under_way.clear()
        task = asyncio.ensure_future(call())
        await under_way.wait()
        assert repr(breaker) == "<CircuitBreaker half_open, 1 of 1 probes under way>"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(breaker) == "<CircuitBreaker half_open, 0 of 1 probes under way>"
    with breaker:
        pass
    assert breaker.state == "closed"


async def test_a_hundred_cancelled_callers_open_nothing_and_three_timeouts_do() -> None:
    breaker = made()
    started = 0

    @breaker
    async def call(timeout: float | None) -> None:
        nonlocal started
        started += 1
        async with asyncio.timeout(timeout):
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(call(None)) for _ in range(100)]
    while started < 100:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (breaker.state, breaker.counts(1000.0)) == ("closed", (0, 0, 0))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await call(0.0)
    assert breaker.state == "open"


def test_a_stream_that_nobody_reads_to_its_end_says_nothing() -> None:
    breaker, it = half_open(), Failing()
    stream = breaker(it.stream)()
    assert next(stream) == "first"
    with pytest.raises(CircuitOpen) as refused:
        next(breaker(it.stream)())
    assert refused.value.state == "half_open"
    assert refused.value.retry_after is None
    stream.close()  # type: ignore[attr-defined]
    assert breaker.state == "half_open"
    it.broken = None
    assert drained(breaker(it.stream)()) == "X"
    assert breaker.state == "closed"


async def test_an_async_stream_that_nobody_reads_to_its_end_says_nothing() -> None:
    breaker, it = half_open(), Failing()
    async with aclosing(breaker(it.astream)()) as stream:  # type: ignore[type-var]
        assert await anext(stream) == "first"
        with pytest.raises(CircuitOpen):
            await anext(breaker(it.astream)())
    it.broken = None
    assert await adrained(breaker(it.astream)()) == "X"
    assert breaker.state == "closed"


def test_a_stream_takes_its_permit_when_it_begins_and_not_when_it_is_made() -> None:
    breaker, it = half_open(), Failing()
    it.broken = None
    never_read = breaker(it.stream)()
    assert drained(breaker(it.stream)()) == "X"
    assert breaker.state == "closed"
    del never_read


def test_a_refused_stream_leaves_no_coroutine_behind() -> None:
    """A coroutine that was never awaited would be a warning, which is an error in this suite."""
    breaker, it = made(), Failing()
    breaker.force_open()
    with pytest.raises(CircuitOpen) as refused:
        asyncio.run(breaker(lambda: it.aask())())
    assert refused.value.retry_after is None
    later = breaker(lambda: it.stream())
    with pytest.raises(CircuitOpen):
        later()
    breaker.force_close()
    stream, coroutine = later(), breaker(lambda: it.aask())()
    breaker.force_open()
    with pytest.raises(CircuitOpen):
        next(stream)
    with pytest.raises(CircuitOpen):
        asyncio.run(coroutine)
    assert it.asked == 0


# -- generators in full --------------------------------------------------------------------------


def test_a_guarded_generator_takes_values_and_exceptions_and_returns() -> None:
    breaker, told = made(), []

    @breaker
    def talk() -> Generator[str, str, int]:
        told.append((yield "a"))
        try:
            yield "b"
        except KeyError:
            told.append("key")
        told.append((yield "c"))
        return 7

    talking = talk()
    assert next(talking) == "a"
    assert talking.send("one") == "b"
    assert talking.throw(KeyError()) == "c"
    with pytest.raises(StopIteration) as end:
        talking.send("two")
    assert (end.value.value, told) == (7, ["one", "key", "two"])


async def test_a_guarded_async_generator_takes_values_and_exceptions() -> None:
    breaker, told = made(), []

    @breaker
    async def talk():  # type: ignore[no-untyped-def]
        told.append((yield "a"))
        try:
            yield "b"
        except KeyError:
            told.append("key")
        told.append((yield "c"))

    talking = talk()
    assert await anext(talking) == "a"
    assert await talking.asend("one") == "b"
    assert await talking.athrow(KeyError()) == "c"
    with pytest.raises(StopAsyncIteration):
        await talking.asend("two")
    assert told == ["one", "key", "two"]


def test_what_a_consumer_throws_into_a_stream_is_not_the_streams_fault() -> None:
    breaker = made(consecutive_failures=1)

    @contextmanager
    @breaker
    def session() -> Iterator[int]:
        yield 1

    with pytest.raises(ConnectionError), session():
        raise ConnectionError("of somebody else")
    assert breaker.state == "closed"


async def test_nor_is_it_that_of_an_async_one() -> None:
    breaker, it = made(consecutive_failures=1), Failing()
    stream = breaker(it.astream)()
    await anext(stream)
    with pytest.raises(ConnectionError):
        await stream.athrow(ConnectionError("of somebody else"))  # type: ignore[attr-defined]
    assert breaker.state == "closed"


def test_only_the_time_a_generator_works_itself_counts() -> None:
    clock = FakeClock(1000.0)
    breaker = made(clock, slow_call_seconds=2.0, min_calls=1, slow_call_rate=0.5)

    @breaker
    def stream(seconds: float) -> Iterator[int]:
        for chunk in range(3):
            clock.advance(seconds)
            yield chunk

    for _ in stream(0.6):
        clock.advance(100.0)  # its consumer takes its time
    assert breaker.state == "closed"
    assert list(stream(0.7)) == [0, 1, 2]
    assert (breaker.state, breaker.reason) == ("open", "1 of 2 took longer than 2 s")


@pytest.mark.parametrize("way", ["function", "coroutine", "with", "async with"])
async def test_slow_calls_open_it_in_every_way(way: str) -> None:
    clock, it = FakeClock(1000.0), Failing()
    breaker = made(clock, slow_call_seconds=2.0, min_calls=2)
    it.broken = None
    it.ask = lambda what="x": clock.advance(2.1)  # type: ignore[assignment, return-value]
    call = guarded(way, breaker, it)
    for _ in range(2):
        await outcome(call)
    assert (breaker.state, breaker.reason) == ("open", "2 of 2 took longer than 2 s")


# -- blocks --------------------------------------------------------------------------------------


def test_blocks_of_one_breaker_may_stand_in_each_other() -> None:
    breaker = made(consecutive_failures=2)
    with breaker, breaker:
        pass
    assert breaker._held == {}
    with pytest.raises(ConnectionError), breaker, made(), breaker:
        raise ConnectionError
    assert breaker.state == "open"


def test_a_refused_block_holds_nothing() -> None:
    breaker = made()
    breaker.force_open()
    with pytest.raises(CircuitOpen, match="the circuit is forced open"), breaker:
        pass
    assert breaker._held == {}


def test_blocks_of_generators_that_take_turns_end_as_often_as_they_began() -> None:
    breaker = made()

    def block() -> Iterator[None]:
        with breaker:
            yield

    first, second = block(), block()
    next(first)
    next(second)
    assert list(first) == list(second) == []
    assert breaker._held == {}
    assert breaker.counts(1000.0) == (2, 0, 0)


def test_a_block_may_end_in_another_context_than_it_began_in() -> None:
    """As those of frameworks that run the two halves of a dependency in different worker threads."""
    breaker = made(consecutive_failures=1)

    def dependency() -> Iterator[None]:
        with breaker:
            yield

    running = dependency()
    contextvars.copy_context().run(next, running)
    with pytest.raises(ConnectionError):
        contextvars.copy_context().run(running.throw, ConnectionError())  # type: ignore[attr-defined]
    assert breaker.state == "open"
    assert breaker._held == {}


def test_what_a_context_no_longer_holds_is_forgotten_there() -> None:
    from langchain_cluster.guard.around import _HELD

    breaker = made()
    stack = ExitStack()
    stack.enter_context(breaker)
    contextvars.Context().run(stack.close)
    assert _HELD.get() is not None  # of this context, which cannot know
    with breaker:
        pass
    assert _HELD.get() is None


def test_a_block_that_was_never_entered_cannot_be_left() -> None:
    with pytest.raises(RuntimeError, match="left more often than it was entered"):
        made().__exit__(None, None, None)


def test_a_hold_guards_one_block() -> None:
    hold = made().hold()
    with hold:
        assert repr(hold) == "<Hold of <CircuitBreaker closed>>"
    with pytest.raises(RuntimeError, match="ask the breaker for another"), hold:
        pass


async def test_a_hold_may_be_awaited() -> None:
    breaker = made(consecutive_failures=1)
    with pytest.raises(ConnectionError):
        async with breaker.hold():
            raise ConnectionError
    assert breaker.state == "open"


async def test_tasks_do_not_end_each_others_blocks() -> None:
    clock = FakeClock(1000.0)
    breaker = made(clock, slow_call_seconds=2.0)
    gates = [asyncio.Event() for _ in range(3)]

    async def block(gate: asyncio.Event) -> None:
        async with breaker:
            await gate.wait()

    tasks = []
    for gate in gates:
        tasks.append(asyncio.ensure_future(block(gate)))
        await asyncio.sleep(0)
        clock.advance(1.5)
    for gate, task in zip(gates, tasks, strict=True):  # the first began first, and ends first
        gate.set()
        await task
    assert breaker.counts(clock.now()) == (3, 0, 2)


# -- the error -----------------------------------------------------------------------------------


def test_the_error_says_why_and_for_how_long() -> None:
    clock = FakeClock(1000.0)
    breaker = CircuitBreaker(BreakerPolicy(consecutive_failures=2), clock, name="search")
    fail = breaker(Failing().ask)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            fail()
    breaker.open_until = 1004.25
    with pytest.raises(CircuitOpen) as refused:
        fail()
    error = refused.value
    assert isinstance(error, ClusterError)
    assert isinstance(error, RuntimeError)
    assert str(error) == "circuit 'search' is open (2 failures in a row); it may be asked again in 4.2 s"
    assert (error.name, error.state, error.retry_after) == ("search", "open", 4.25)
    assert repr(breaker) == "<CircuitBreaker search open, 2 failures in a row, probes in 4.2 s>"
    breaker.force_open()
    with pytest.raises(CircuitOpen) as refused:
        fail()
    assert refused.value.retry_after is None
    assert str(refused.value) == "circuit 'search' is forced open (forced open)"


def test_a_circuit_that_closes_while_somebody_is_refused_may_be_asked_at_once() -> None:
    breaker = made()

    class Late(CircuitBreaker):
        def try_acquire(self, now: float) -> None:
            return None

    late = Late(breaker.policy, FakeClock())
    with pytest.raises(CircuitOpen) as refused:
        late.acquire(1000.0)
    assert refused.value.retry_after == 0.0


@pytest.mark.parametrize("how", ["with", "hold"])
def test_a_block_that_began_before_the_circuit_changed_says_nothing(how: str) -> None:
    breaker = made()
    with breaker if how == "with" else breaker.hold():
        breaker.force_open()
        breaker.force_close()
        breaker.reset()
        for _ in range(3):
            breaker(int)()
    assert breaker.counts(1000.0) == (3, 0, 0)


def test_a_held_block_may_be_too_slow() -> None:
    clock = FakeClock(1000.0)
    breaker = made(clock, slow_call_seconds=1.0, slow_call_rate=0.5, min_calls=1)
    with breaker.hold():
        pass
    assert (breaker.state, breaker.counts(1000.0)) == ("closed", (1, 0, 0))
    with breaker.hold():
        clock.advance(2.0)
    assert breaker.state == "open"


def test_a_block_ends_itself_though_others_ended_within_it() -> None:
    breaker, other = made(), made()
    with breaker as call:
        other.__enter__()
        copy_context().run(other.__exit__, None, None, None)  # it ends in another context
        with other:
            pass
        copy_context().run(breaker.__enter__)  # another task's
        call.failed()
    assert breaker.counts(1000.0) == (1, 1, 0)
