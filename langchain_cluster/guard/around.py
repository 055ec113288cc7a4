"""A breaker around a call: which exceptions are failures, and how long a permit is held.

A function holds it until it returns, a coroutine until it has been awaited, a generator from its first
step to its end, a block until it is left, and however they end, the permit is given back.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from functools import wraps
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from langchain_cluster.errors import CircuitOpen, ConfigError
from langchain_cluster.model.call import Verdict

if TYPE_CHECKING:
    from langchain_cluster.guard.breaker import CircuitBreaker, Permit

Counts = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
P = ParamSpec("P")
R = TypeVar("R")


def verdicts(counts: Counts) -> Callable[[BaseException], Verdict]:
    """What an exception says of whoever was called: TRANSIENT, CALLER (nothing) or ABANDONED (nothing).

    Raises:
        ConfigError: `counts` is neither exception classes nor a predicate.
    """
    classes = counts if isinstance(counts, tuple) else (counts,)
    if all(isinstance(each, type) and issubclass(each, Exception) for each in classes) and classes:
        kinds = cast(tuple[type[Exception], ...], classes)
        return _judge(lambda error: isinstance(error, kinds))
    if isinstance(counts, tuple | type) or not callable(counts):
        raise ConfigError(
            f"{counts!r} does not say which exceptions are failures: give a subclass of Exception,"
            " a tuple of them, or a predicate",
            key="counts",
        )
    return _judge(counts)


def _judge(counts: Callable[[Exception], bool]) -> Callable[[BaseException], Verdict]:
    def verdict(error: BaseException) -> Verdict:
        if not isinstance(error, Exception) or isinstance(error, CircuitOpen):
            return Verdict.ABANDONED  # cancelled, closed, interrupted; or nobody was asked
        if isinstance(error, ExceptionGroup) and any(
            verdict(part) is Verdict.TRANSIENT for part in error.exceptions
        ):
            return Verdict.TRANSIENT
        return Verdict.TRANSIENT if counts(error) else Verdict.CALLER

    return verdict


class Hold:
    """One guarded block, entered once; `failed()` says that it failed although nothing was raised."""

    __slots__ = ("_breaker", "_failed", "_outer", "_permit", "_started")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker, self._failed = breaker, False
        self._permit: Permit | None = None
        self._outer: Hold | None = None  # the one it was entered within

    def failed(self) -> None:
        """What came back is a failure."""
        self._failed = True

    def __enter__(self) -> Self:
        if self._permit is not None:
            raise RuntimeError("a hold guards one block: ask the breaker for another")
        breaker = self._breaker
        permit, self._started = breaker._permit, 0.0  # nobody asks how long it takes
        if permit is None or breaker._timed:
            self._started = started = breaker._clock.now()
            permit = permit or breaker.acquire(started)
        self._permit = permit
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        breaker, permit, started = self._breaker, self._permit, self._started
        if error is None and not self._failed and permit is breaker._permit and not breaker._timed:
            # What `record` does for an answer of a closed circuit, without calling it.
            ended = breaker._clock.now()
            if breaker._from <= ended < breaker._until:
                breaker._answers += 1
                if breaker._row:
                    breaker._row = 0
                return
        assert permit is not None
        if self._failed:
            ended = breaker._clock.now()
            breaker.record(permit, Verdict.TRANSIENT, ended, ended - started)
        elif error is not None:
            _blame(breaker, permit, error, started)
        else:
            ended = breaker._clock.now()
            breaker.record(permit, Verdict.OK, ended, ended - started)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def __repr__(self) -> str:
        return f"<Hold of {self._breaker!r}>"


# Of all breakers, the innermost, which knows the one around it. A task and a thread have their own.
_HELD: ContextVar[Hold | None] = ContextVar("breakers held", default=None)
_new, _innermost, _set = object.__new__, _HELD.get, _HELD.set  # looked up once


def entered(breaker: CircuitBreaker) -> Hold:
    """A block of `with breaker:` begins here. Raises CircuitOpen."""
    permit = breaker._permit
    hold = _new(Hold)  # what follows is its `__init__`, which would cost as much as all the rest
    hold._breaker, hold._failed = breaker, False
    if permit is None or breaker._timed:
        hold._started = started = breaker._clock.now()
        permit = permit or breaker.acquire(started)
    else:
        hold._started = 0.0  # nobody asks how long it took
    hold._permit = permit
    breaker._held[hold] = None
    outer = _innermost()
    while outer is not None and outer not in outer._breaker._held:
        outer = outer._outer  # it has ended in another context
    hold._outer = outer
    _set(hold)
    return hold


def left(
    breaker: CircuitBreaker,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    """The innermost block of this task, or thread, ends here.

    Where there is none, it began in another context, as that of an async generator which the event
    loop closes. Then it is the last of all that are still held.
    """
    hold = _innermost()
    if hold is None or hold._breaker is not breaker or breaker._held.pop(hold, hold) is not None:
        hold = _out_of_order(breaker)
    else:
        _set(hold._outer)
    hold._end(error)


def _out_of_order(breaker: CircuitBreaker) -> Hold:
    own: list[Hold] = []
    hold = _HELD.get()
    while hold is not None:
        own.append(hold)
        hold = hold._outer
    own = [hold for hold in own if hold in hold._breaker._held]
    found = next((hold for hold in own if hold._breaker is breaker), None)
    if found is None or breaker._held.pop(found, found) is not None:
        try:
            found, _ = breaker._held.popitem()
        except KeyError:
            raise RuntimeError(f"{breaker!r} is left more often than it was entered") from None
    _set(next((hold for hold in own if hold is not found), None))
    return found


def wrapped(breaker: CircuitBreaker, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, guarded by `breaker`. Raises ConfigError for what cannot be called."""
    if not callable(function):
        raise ConfigError(f"{type(function).__name__} cannot be called, and not be guarded", key="breaker")
    if _is(inspect.isasyncgenfunction, function):
        return _async_generator_function(breaker, function)
    if _is(inspect.iscoroutinefunction, function):
        return _coroutine_function(breaker, function)
    if _is(inspect.isgeneratorfunction, function):
        return _generator_function(breaker, function)
    return _function(breaker, function)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    return kind(function) or kind(type(function).__call__)  # an object may be called as a coroutine


def _function(breaker: CircuitBreaker, function: Callable[..., Any]) -> Callable[..., Any]:
    now, timed = breaker._clock.now, breaker._timed

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        # What `try_acquire` and `record` do for an answer of a closed circuit, without calling them.
        permit = breaker._permit
        started = now() if timed or permit is None else 0.0
        if permit is None:
            permit = breaker.acquire(started)
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            _blame(breaker, permit, error, started)
            raise
        if type(value) in _RUN_LATER:
            # Nothing has been done yet: it takes a permit of its own when it runs.
            breaker.record(permit, Verdict.ABANDONED, started)
            return _RUN_LATER[type(value)](breaker, value)
        ended = now()
        if permit is breaker._permit and breaker._from <= ended < breaker._until and not timed:
            breaker._answers += 1
            if breaker._row:
                breaker._row = 0
        else:
            breaker.record(permit, Verdict.OK, ended, ended - started)
        return value

    return guarded


def _coroutine_function(breaker: CircuitBreaker, function: Callable[..., Any]) -> Callable[..., Any]:
    now, timed = breaker._clock.now, breaker._timed

    @wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        permit = breaker._permit  # the same as above, awaited
        started = now() if timed or permit is None else 0.0
        if permit is None:
            permit = breaker.acquire(started)
        try:
            value = await function(*args, **kwargs)
        except BaseException as error:
            _blame(breaker, permit, error, started)
            raise
        ended = now()
        if permit is breaker._permit and breaker._from <= ended < breaker._until and not timed:
            breaker._answers += 1
            if breaker._row:
                breaker._row = 0
        else:
            breaker.record(permit, Verdict.OK, ended, ended - started)
        return value

    return guarded


def _generator_function(breaker: CircuitBreaker, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from _generator(breaker, function(*args, **kwargs)))

    return guarded


def _blame(breaker: CircuitBreaker, permit: Permit, error: BaseException, started: float) -> None:
    verdict = Verdict.ABANDONED
    try:
        verdict = breaker._verdict_of(error)
    finally:  # a predicate may raise
        ended = breaker._clock.now()
        breaker.record(permit, verdict, ended, ended - started)


async def _coroutine(breaker: CircuitBreaker, inner: Coroutine[Any, Any, Any]) -> Any:
    try:
        with Hold(breaker):
            return await inner
    finally:
        inner.close()  # when the circuit refused, it was never awaited


class _Work:
    """One permit of a generator, and how long the generator worked. Its consumer's time is its own."""

    __slots__ = ("_breaker", "_permit", "began", "seconds", "thrown", "verdict")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker, self.seconds, self.verdict = breaker, 0.0, Verdict.ABANDONED
        self.thrown: BaseException | None = None  # into the generator, by its consumer
        self._permit = breaker.acquire(breaker._clock.now())

    def __enter__(self) -> None:
        self.began = self._breaker._clock.now()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._breaker._clock.now() - self.began

    def judge(self, error: BaseException) -> None:
        """It raised `error`; the consumer's own exception, handed back, says nothing."""
        if error is not self.thrown:
            self.verdict = self._breaker._verdict_of(error)

    def end(self) -> None:
        self._breaker.record(self._permit, self.verdict, self._breaker._clock.now(), self.seconds)


def _generator(breaker: CircuitBreaker, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    work = _Work(breaker)
    step: Callable[[Any], Any] = inner.send
    given: Any = None
    try:
        while True:
            with work:
                value = step(given)
            try:
                step, given = inner.send, (yield value)
            except GeneratorExit:
                raise
            except BaseException as error:
                step, given = inner.throw, error
                work.thrown = error
    except StopIteration as end:
        work.verdict = Verdict.OK
        return end.value
    except BaseException as error:
        work.judge(error)
        raise
    finally:
        try:
            inner.close()
        finally:
            work.end()


def _async_generator_function(breaker: CircuitBreaker, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        work = _Work(breaker)
        step: Callable[[Any], Awaitable[Any]] = inner.asend
        given: Any = None
        try:
            while True:
                with work:
                    value = await step(given)
                try:
                    step, given = inner.asend, (yield value)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    step, given = inner.athrow, error
                    work.thrown = error
        except StopAsyncIteration:
            work.verdict = Verdict.OK
        except BaseException as error:
            work.judge(error)
            raise
        finally:
            try:
                await inner.aclose()
            finally:
                work.end()

    return guarded


def _async_generator(breaker: CircuitBreaker, inner: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    generator: AsyncGenerator[Any, Any] = _async_generator_function(breaker, lambda: inner)()
    return generator


_RUN_LATER: dict[type, Callable[[CircuitBreaker, Any], Any]] = {
    CoroutineType: _coroutine,
    GeneratorType: _generator,
    AsyncGeneratorType: _async_generator,
}
