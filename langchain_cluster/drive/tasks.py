"""Performs effects by suspending the current task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_cluster.drive import shelf
from langchain_cluster.drive.deadline import Within
from langchain_cluster.drive.limits import first_token_by, next_chunk_by, stalled, too_late
from langchain_cluster.drive.race import BegunTask
from langchain_cluster.drive.recall import Recalls, TaskRecall, moved
from langchain_cluster.model.call import Answer, Attempt, Outcome, Resume, Verdict
from langchain_cluster.model.plain import plain
from langchain_cluster.plan import effects as fx
from langchain_cluster.ports import AlikeStore, Awaited, CacheStore, Caller, Clock, Span, Tracing

T = TypeVar("T")
_NO_HEADERS: dict[str, str] = {}


@dataclass(slots=True)
class _Ended:
    """An async generator cannot return a value: it leaves it here."""

    outcome: Outcome | None = None


class TaskDriver:
    """The asyncio twin of `BlockingDriver`: the same effects, awaited. Bound to no event loop."""

    def __init__(
        self,
        clock: Clock,
        caller: Caller,
        store: CacheStore | None = None,
        tracing: Tracing | None = None,
        recalls: Recalls | None = None,
        alike: AlikeStore | None = None,
    ) -> None:
        self.clock, self.caller, self.store, self.tracing = clock, caller, store, tracing
        self._instant = store is not None and shelf.longest(store) == 0.0
        self.recalls = recalls or Recalls()
        self.alike = alike

    async def run(self, plan: fx.Plan[T], span: Span | None = None) -> T:
        """The plan's result. Cancelling settles what the plan holds."""
        with closing(plan):
            try:
                effect = next(plan)
                while True:
                    try:
                        answer = await self._perform(effect, span)
                    except Exception as error:
                        effect = plan.throw(error)
                    else:
                        effect = plan.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result

    async def stream(self, plan: fx.Plan[Answer], span: Span | None = None) -> AsyncGenerator[Any, None]:
        """The plan's chunks, and its `Answer` as the last item."""
        with closing(plan):
            try:
                effect = next(plan)
                while True:
                    if type(effect) is fx.Relay:
                        ended = _Ended()
                        async with aclosing(self._relay(effect.started, ended, hold=effect.hold)) as chunks:
                            async for chunk in chunks:
                                yield chunk
                        effect = plan.send(ended.outcome)
                        continue
                    try:
                        answer = await self._perform(effect, span)
                    except Exception as error:
                        effect = plan.throw(error)
                    else:
                        effect = plan.send(answer)
            except StopIteration as stop:
                last = stop.value
        yield last

    async def _perform(self, effect: fx.Effect[Any], span: Span | None) -> Any:
        match effect:
            case fx.Call(attempt):
                return await self._call(attempt, span)
            case fx.Lookup(keys, near=True):
                return shelf.glance(self.store, keys)
            case fx.Lookup(keys, until):
                return await self._lookup(keys, until, span)
            case fx.Store(key, raw, until, ttl):
                return await self._shelved(shelf.aput, until, key, raw, ttl)
            case fx.ClaimQuestion(keys, streaming, until):
                return await self._shelved(shelf.aclaim, until, keys, streaming)
            case fx.LookupEach(keys, until):
                return await self._lookup_each(keys, until, span)
            case fx.StoreEach(raws, until):
                return await self._shelved(lambda store: store.amset(raws), until)
            case fx.Open(attempt, resume):
                return await self._open(attempt, span, resume)
            case fx.Begin(attempt, streaming):
                return BegunTask(self._open(attempt, span) if streaming else self._call(attempt, span))
            case fx.LookupAlike(text, scopes, until):
                return await self._alike(until, "aseek", text, scopes)
            case fx.StoreAlike(text, scope, raw, words, until):
                return await self._alike(until, "akeep", text, scope, raw, words)
            case fx.Reserve(store, scopes, tokens, until):
                async with self.clock.timeout_at(until):
                    return await store.atake(scopes, tokens)
            case fx.Sleep(seconds):
                return await self.clock.asleep(seconds)
            case fx.Wait(awaited, until):
                return await self._wait(awaited, until)
            case fx.Fetch(source, after):
                return await source.afetch(after)
            case _:
                raise TypeError(f"unknown effect {effect!r}")

    async def _wait(self, awaited: Awaited, until: float | None) -> None:
        loop, landed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:  # from the leader's thread, which may not be this loop's
            try:
                loop.call_soon_threadsafe(landed.set)
            except RuntimeError:
                pass  # that loop is closed, and nobody waits on it any more

        awaited.subscribe(tell)
        try:
            async with self.clock.timeout_at(until):
                await landed.wait()
        except TimeoutError:
            pass  # the plan sees that it has not landed
        finally:
            awaited.unsubscribe(tell)

    async def _shelved(self, ask: Callable[..., Awaitable[T]], until: float | None, *given: Any) -> T | None:
        """Ask the store, with a limit if it might take longer than it may."""
        if self.store is None:
            return None
        if until is None or self._instant:
            return await ask(self.store, *given)
        async with self.clock.timeout_at(until):
            return await ask(self.store, *given)

    async def _alike(self, until: float | None, operation: str, *given: Any) -> Any:
        """Ask the cache of meanings, with a limit."""
        if self.alike is None:
            return None
        async with self.clock.timeout_at(until):
            return await getattr(self.alike, operation)(*given)

    async def _lookup(
        self, keys: tuple[str, ...], until: float | None, parent: Span | None
    ) -> fx.Found | None:
        span = None if parent is None or self.tracing is None else self.tracing.lookup(parent)
        found: fx.Found | None = None
        try:
            found = shelf.glance(self.store, keys) or await self._shelved(shelf.afind, until, keys)
            return found
        finally:
            if span is not None:
                span.end(found.layer if found else "miss")

    async def _lookup_each(
        self, keys: tuple[str, ...], until: float | None, parent: Span | None
    ) -> list[fx.Found | None]:
        span = None if parent is None or self.tracing is None else self.tracing.lookup(parent)
        found: list[fx.Found | None] = [None] * len(keys)
        try:
            found = await self._shelved(shelf.afind_each, until, keys) or found
            return found
        finally:
            if span is not None:
                span.end(next((one.layer for one in found if one is not None), "miss"))

    async def _call(self, attempt: Attempt, parent: Span | None) -> Outcome:
        span = None if parent is None or self.tracing is None else self.tracing.attempt(attempt, parent)
        headers = _NO_HEADERS if span is None else span.headers
        started = self.clock.now()
        outcome: Outcome | None = None
        recall = TaskRecall()
        self.recalls.hold(attempt, started, recall)
        try:
            with Within(self.clock.now, attempt.limits.until), span or nullcontext():
                if attempt.limits.until is None:
                    outcome = await self.caller.acall(attempt, headers)
                else:
                    async with self.clock.timeout_at(attempt.limits.until):
                        outcome = await self.caller.acall(attempt, headers)
                recall.heed()
        except TimeoutError:
            seconds = self.clock.now() - started
            outcome = too_late(attempt.endpoint, "no answer within the time of the attempt", seconds)
        except asyncio.CancelledError:
            outcome = None
            if not recall.caught():
                raise
            outcome = moved(recall.reason, self.clock.now() - started)
        finally:
            self.recalls.drop(attempt)
            recall.over()
            if span is not None:
                span.end(outcome)
        return outcome

    async def _open(self, attempt: Attempt, parent: Span | None, resume: Resume | None = None) -> Outcome:
        span = None if parent is None or self.tracing is None else self.tracing.attempt(attempt, parent)
        started = self.clock.now()
        until, reason = first_token_by(attempt, started)
        headers = _NO_HEADERS if span is None else span.headers
        stream = self.caller.open(attempt, headers, resume)
        if span is not None:
            span.streams(stream)
        chunks = stream.achunks()
        outcome: Outcome | None = None
        read: list[Any] = []
        recall = TaskRecall()
        self.recalls.hold(attempt, started, recall)
        try:
            with Within(self.clock.now, attempt.limits.until), span or nullcontext():
                async with self.clock.timeout_at(until):
                    while True:
                        chunk = await anext(chunks)
                        read.append(chunk)
                        stream.note(chunk, self.clock.now())
                        if stream.has_token(chunk):
                            break
                recall.heed()
            outcome = Outcome(Verdict.OK, value=fx.Started(attempt, stream, read, chunks, span))
        except StopAsyncIteration:
            outcome = stream.ended(self.clock.now())
            if outcome.verdict is Verdict.OK:
                outcome = Outcome(Verdict.OK, value=fx.Started(attempt, stream, read, None, span))
        except TimeoutError as error:
            late = plain(str(error)) or reason
            outcome = too_late(attempt.endpoint, late, self.clock.now() - started)
        except asyncio.CancelledError:
            if not recall.caught():
                raise
            outcome = moved(recall.reason, self.clock.now() - started)
        except Exception as error:
            outcome = stream.broke(error, self.clock.now())
        finally:
            self.recalls.drop(attempt)
            recall.over()
            if outcome is None or outcome.verdict is not Verdict.OK:
                await _aclose(chunks)
                if span is not None:
                    span.end(outcome)
        return outcome

    async def _relay(self, opened: fx.Started, ended: _Ended, *, hold: bool) -> AsyncGenerator[Any, None]:
        stream, chunks, span = opened.stream, opened.rest, opened.span
        held: list[Any] = []
        reason = ""
        try:
            for chunk in opened.read:
                new = stream.out(chunk)
                if hold:
                    held.append(new)
                elif new is not None:
                    opened.handed = self.clock.now()
                    yield new
                    opened.handed = None
            while chunks is not None:
                until, reason = next_chunk_by(opened.attempt, self.clock.now())
                before = cancels()
                with span or nullcontext():
                    async with self.clock.timeout_at(until):
                        chunk = await anext(chunks)
                if cancels() > before:
                    raise asyncio.CancelledError  # which the client has swallowed
                now = self.clock.now()
                stream.note(chunk, now)
                new = stream.out(chunk)
                if hold:
                    held.append(new)
                elif new is not None:
                    opened.handed = now
                    yield new
                    opened.handed = None
            ended.outcome = stream.ended(self.clock.now())
        except StopAsyncIteration:
            ended.outcome = stream.ended(self.clock.now())
        except TimeoutError as error:
            ended.outcome = stalled(stream, error, reason, self.clock.now())
        except Exception as error:
            ended.outcome = stream.broke(error, self.clock.now())
        finally:
            if chunks is not None:
                await _aclose(chunks)
            if span is not None:
                span.end(ended.outcome)
        if ended.outcome.verdict is Verdict.OK:
            opened.handed = self.clock.now()
            for chunk in held:
                yield chunk


def cancels() -> int:
    """How often the current task was told to cancel, and has not undone it."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _aclose(chunks: AsyncIterator[Any]) -> None:
    """Close an async iterator now: the garbage collector would do it some time, on another task."""
    close = getattr(chunks, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:
            pass  # whatever the endpoint's client says on closing, the attempt has its outcome
